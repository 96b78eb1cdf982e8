"""Curious Replay: what was seldom trained on, or is badly predicted, first."""

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
  """Draws windows in proportion to curiosity about their first trained step.

    w = visited · familiar^v + (|loss| + offset)^exponent,   `highest` at v = 0

  v counts how often the window was drawn, and the loss is that of the model
  when the step was last trained on, 0 until then.

  Args:
    context: Steps of a window before those that are trained on.
    share: Part of all draws.
    visited: Weight c of the counts.
    familiar: Factor β of each visit.
    exponent, offset: Power α, and ε, of the loss.
    highest: Weight of windows that were never drawn.

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
    visited: Weight = 1e4,
    familiar: Share = 0.7,
    exponent: Weight = 0.7,
    offset: Weight = 0.01,
    highest: Annotated[float, Range(above=0)] = 1e5,
  ):
    self.share = share
    self.columns = {VISITS: (np.int32, 0), LOSS: (np.float32, 0.0)}
    self.visited, self.familiar = visited, familiar
    self.exponent, self.offset, self.highest = exponent, offset, highest
    self.pool, self.context = pool, context
    self.weights = StartWeights(pool, self.weigh, reach=context)

  def weigh(self, rows: np.ndarray) -> np.ndarray:
    """Weighs starts, of rows (n, S), as (n, S - context)."""
    # Rows at (n, S - context): the first trained step of each start.
    trained = rows[:, self.context :]
    visits = self.pool.columns[VISITS][trained]
    loss = np.abs(self.pool.columns[LOSS][trained].astype(np.float64))
    weight = self.visited * self.familiar**visits
    weight += (loss + self.offset) ** self.exponent
    return np.where(visits, weight, self.highest)

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
