"""The selector by priorities of steps."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np

from dreamer_nnx.replay.chunks import ChunkPool
from dreamer_nnx.replay.weights import StartWeights
from dreamer_nnx.schema import Range, Share, Weight
from dreamer_nnx.slots import SELECTOR


@SELECTOR.register('priority')
class Priority:
  """Draws starts in proportion to the priorities of the steps that follow.

    P(s) ∝ m max pₜ^e + (1 - m) mean pₜ^e

  over the steps t of the window after its context, which are trained on. A
  step's priority is the model's loss there when it was last trained on.

  Starts of infinite weight, by default all that were never drawn, come first
  and each at most once a draw. The steps of a drawn window that are trained on
  have priority 0 until `update` sets a new one. Where all weights are 0 the
  draw is uniform.

  Args:
    context: Steps of a window before those that are trained on.
    share: Part of the draws, relative to the shares of all selectors; 0 for
      none.
    exponent: Power e of the priorities; 0 is uniform.
    max_fraction: Weight m of the largest of a window against the mean.
    initial: Priority of steps that have none yet.

  Source: Schaul et al. 2016 (arXiv 1511.05952).
  """

  wants = ('model',)
  # Memory of a step: its priority, what of it is saved, and the weights.
  step_bytes = 2 * 8 + StartWeights.step_bytes

  def __init__(
    self,
    pool: ChunkPool,
    context: int,
    *,
    share: Weight = 1.0,
    exponent: Annotated[float, Range(0)] = 0.8,
    max_fraction: Share = 0.5,
    initial: Annotated[float, Range(0)] = float('inf'),
  ):
    self.share = share
    # Priorities of steps, to the exponent.
    self.columns = {'priority': (np.float64, initial**exponent)}
    self._pool = pool
    self._context = context
    self._exponent = exponent
    self._max_fraction = max_fraction
    self._drawn: list[np.ndarray] = []  # Starts whose steps are to be set to 0.
    self._weights = StartWeights(pool, self._weigh, pool.length - 1)
    pool.before_recycling(lambda slots: self.zero_drawn())

  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    self.zero_drawn()
    rows = self._weights.draw(rng, count)
    self._drawn.append(rows)
    return rows

  def zero_drawn(self) -> None:
    """Sets the priorities of drawn steps to 0.

    Drawing itself does not: the batch is waited for, and this can be later.
    """
    if self._drawn:
      rows, self._drawn = np.concatenate(self._drawn), []
      # (n,) -> (n, length)
      windows = self._pool.around(rows, 0, self._pool.length - 1)
      # (rows,), written at (n, length - context)
      self._pool.columns['priority'][windows[:, self._context :]] = 0
      self._weights.changed(windows[:, -1], self._pool.length - 1)

  def update(
    self,
    rows: np.ndarray,
    alive: np.ndarray,
    signals: Mapping[str, np.ndarray],
  ) -> None:
    """Sets the priorities (B, T) of the rows (B, T) that are alive (B, T)."""
    self.zero_drawn()
    powers = np.maximum(signals['model'], 0).astype(np.float64)
    # (rows,), written at (n,) of (B, T)
    self._pool.columns['priority'][rows[alive]] = (
      powers[alive] ** self._exponent
    )
    # The oldest is recycled first: the last one alive is held.
    last = rows.shape[1] - 1 - alive[:, ::-1].argmax(1)
    some = alive.any(1)
    # (B, T) at (n,), (n,) -> (n,)
    changed = rows[some, last[some]]
    self._weights.changed(changed, self._pool.length - 1)
    self._weights.refresh()

  def state(self) -> dict:
    """Brings the column up to date; it is all the state that there is."""
    self.zero_drawn()
    return {}

  def restore(self, state: Mapping) -> None:
    del state

  def _weigh(self, rows: np.ndarray) -> np.ndarray:
    # (rows,) at (n, S) -> (n, S)
    powers = np.where(rows >= 0, self._pool.columns['priority'][rows], 0)
    # (n, S) -> (n, S - context)
    powers = powers[:, self._context :]
    length, finite = self._pool.length - self._context, np.isfinite(powers)
    largest = _sliding(np.maximum, powers, length)
    mean = _sliding(np.add, np.where(finite, powers, 0), length) / length
    if finite.all():
      return self._max_fraction * largest + (1 - self._max_fraction) * mean
    finite = np.isfinite(largest)
    largest = self._max_fraction * np.where(finite, largest, 0)
    return np.where(finite, largest + (1 - self._max_fraction) * mean, np.inf)


def _sliding(combine: np.ufunc, values: np.ndarray, length: int) -> np.ndarray:
  """Combines every window of (n, S) values: (n, S - length + 1).

  Windows grow by doubling, so each result is combined in the same order,
  whatever stretch it is computed from, and is rounded alike.
  """
  width, done, out = 1, 0, None
  while True:
    if length & width:
      part = values[:, done:]
      if out is None:
        out = part
      else:
        count = min(out.shape[1], part.shape[1])
        out = combine(out[:, :count], part[:, :count])
      done += width
    if 2 * width > length:
      return out
    values = combine(values[:, :-width], values[:, width:])
    width *= 2
