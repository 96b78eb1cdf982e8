"""The selector by visits and losses."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np

from dreamer_nnx.replay.chunks import ChunkPool
from dreamer_nnx.replay.weights import StartWeights
from dreamer_nnx.schema import Range, Share, Weight
from dreamer_nnx.slots import SELECTOR

VISITS, LOSS = 'curious/visits', 'curious/loss'


@SELECTOR.register('curious')
class Curious:
  """Draws what was seldom trained on, or badly predicted, more often.

    w = visit_scale · visit_decay^v + (|loss| + loss_offset)^loss_exponent

  of the first trained step of a window: v counts how often the window was
  drawn, and the loss is that of the model when the step was last trained on, 0
  until then.

  Args:
    context: Steps of a window before those that are trained on.
    share: Part of all draws.
    visit_scale: Weight c of windows that were drawn seldom.
    visit_decay: Factor β by which each further draw lowers it.
    loss_exponent: Power α of the losses; 0 makes all alike.
    loss_offset: Number ε that is added to each loss before.
    initial: Weight of windows that were never drawn.

  Source: Kauvar et al. 2023, arXiv 2306.15934.
  """

  wants = ('model',)
  # Memory of a step: its columns, what of them is saved, and the weights.
  step_bytes = 2 * (4 + 4) + StartWeights.step_bytes

  def __init__(
    self,
    pool: ChunkPool,
    context: int,
    *,
    share: Weight = 1.0,
    visit_scale: Weight = 1e4,
    visit_decay: Share = 0.7,
    loss_exponent: Weight = 0.7,
    loss_offset: Weight = 0.01,
    initial: Annotated[float, Range(above=0)] = 1e5,
  ):
    self.share = share
    self.columns = {VISITS: (np.int32, 0), LOSS: (np.float32, 0.0)}
    self.visit_scale, self.visit_decay = visit_scale, visit_decay
    self.loss_exponent, self.loss_offset = loss_exponent, loss_offset
    self.initial = initial
    self.pool, self.context = pool, context
    self.weights = StartWeights(pool, self.weigh, reach=context)

  def weigh(self, rows: np.ndarray) -> np.ndarray:
    """Weighs starts, of rows (n, S), as (n, S - context)."""
    # Rows at (n, S - context): the first trained step of each start.
    trained = rows[:, self.context :]
    visits = self.pool.columns[VISITS][trained]
    loss = np.abs(self.pool.columns[LOSS][trained].astype(np.float64))
    weight = self.visit_scale * self.visit_decay**visits
    weight += (loss + self.loss_offset) ** self.loss_exponent
    return np.where(visits, weight, self.initial)

  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    """Draws (count,) starts, and counts them at once."""
    rows = self.weights.draw(rng, count)
    trained = self.pool.around(rows, 0, self.context)[:, -1]
    np.add.at(self.pool.columns[VISITS], trained, 1)
    self.weights.changed(trained)
    return rows

  def update(
    self,
    rows: np.ndarray,
    alive: np.ndarray,
    signals: Mapping[str, np.ndarray],
  ) -> None:
    """Keeps the losses (B, T) of the rows (B, T) that are alive (B, T)."""
    # (B, T) at (B, T) to (n,).
    self.pool.columns[LOSS][rows[alive]] = signals['model'][alive]
    self.weights.changed(rows[alive])
