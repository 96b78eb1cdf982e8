"""Weights of the starts of a pool, to draw in proportion to them."""

from collections.abc import Callable

import numpy as np

from dreamer_nnx.replay.chunks import ChunkPool
from dreamer_nnx.replay.tree import SumTree
from dreamer_nnx.replay.uniform import Uniform


class StartWeights:
  """Draws starts in proportion to weights that follow from columns.

  It follows the pool: at the next draw it weighs the starts that came since,
  and it forgets those of recycled chunks. So what else changes is to be told
  by `changed` alone, and after a load the draws are the same.

  Starts of infinite weight come first, in any order, and each at most once a
  draw. Where all weights are 0 the draw is uniform.

    self.weights = StartWeights(pool, self.weigh)

    def weigh(self, rows):
      return 1 / (1 + self.pool.columns['visits'][rows])

  Args:
    weigh: Gives the weights (n, S - reach), not negative, of the first of rows
      (n, S), which are consecutive steps. It depends on the rows' own columns
      and those of the `reach` steps behind each, alone. Rows of steps that are
      not held are -1, and weights that depend on these are not used.
    reach: Fewer than the `length` of a window.

  Raises:
    ValueError: `reach` is not; later, if weights are negative or no numbers.
  """

  # Memory of a step in two trees.
  step_bytes = 2 * 8

  def __init__(
    self,
    pool: ChunkPool,
    weigh: Callable[[np.ndarray], np.ndarray],
    reach: int = 0,
  ):
    if not 0 <= reach < pool.length:
      raise ValueError(f'reach {reach} is not below {pool.length} steps.')
    rows = pool.num_chunks * pool.chunk_size
    self._pool = pool
    self._weigh = weigh
    self._reach = reach
    self._uniform = Uniform(pool)
    self._fresh = SumTree(rows)  # 1 for each start of infinite weight.
    self._finite = SumTree(rows)
    # Last rows of what changed, by how many steps before them did.
    self._stale: dict[int, list[np.ndarray]] = {}
    # Starts of each slot that have a weight.
    self._weighed = np.zeros(pool.num_chunks, np.int64)
    pool.before_recycling(self._forget)

  def changed(self, rows: np.ndarray, before: int = 0) -> None:
    """Notes that columns of rows (n,), and of some steps before each, changed.

    Weights that depend on them are computed at the next `refresh` or draw.
    """
    self._stale.setdefault(before, []).append(rows)

  def refresh(self) -> None:
    """Computes the weights that changed; a draw does, too, and takes longer."""
    self._pool.sync()
    for before, stale in self._stale.items():
      rows = np.unique(np.concatenate(stale))
      self._reweigh(rows, before + self._reach, self._reach)
    self._stale.clear()

  def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
    """Draws (count,) starts."""
    self.refresh()
    self._weigh_new_starts()
    fresh = round(self._fresh.total)
    first = min(fresh, count)
    rows = np.empty(0, np.int64)
    if first:
      ranks = rng.choice(fresh, first, replace=False)
      rows = self._fresh.find(ranks + 0.5)
    if first < count:
      rest = self._draw_finite(rng, count - first)
      rows = np.concatenate([rows, rest])
    return rows

  def _draw_finite(self, rng: np.random.Generator, count: int) -> np.ndarray:
    total = self._finite.total
    if total > 0:
      return self._finite.find(rng.random(count) * total)
    return self._uniform.select(rng, count)

  def _forget(self, slots: slice) -> None:
    """Clears the weights of chunks about to be recycled."""
    size = self._pool.chunk_size
    if self._weighed[slots].any():
      self._set(np.arange(slots.start * size, slots.stop * size), 0.0)
    self._weighed[slots] = 0

  def _weigh_new_starts(self) -> None:
    """Sets the weights of windows completed since the last draw."""
    pool, limit = self._pool, 64
    grown = np.flatnonzero(pool.starts[:-1] != self._weighed)
    for slots in np.split(grown, range(limit, len(grown), limit)):
      if len(slots):
        weighed = self._weighed[slots]
        count = int((pool.starts[slots] - weighed).max())
        rows = slots * pool.chunk_size + weighed
        self._reweigh(rows, 0, count - 1 + self._reach)
    self._weighed[:] = pool.starts[:-1]

  def _reweigh(self, rows: np.ndarray, before: int, after: int) -> None:
    """Updates the weights of all starts in a stretch around rows (n,)."""
    # (n,) -> (n, S), S = before + 1 + after
    stretch = self._pool.around(rows, before, after)
    # (n, S) -> (n, S - reach), as many as there are starts.
    weights = self._weigh(stretch)
    starts = stretch[:, : weights.shape[1]]
    valid = (starts >= 0) & self._pool.is_start(starts)
    # (n, S - reach) at flags of that shape -> (m,)
    starts, weights = starts[valid], weights[valid]
    if not (weights >= 0).all():
      raise ValueError(f'weights of starts are {weights}, and must be >= 0.')
    self._set(starts, weights)

  def _set(self, rows: np.ndarray, weights: np.ndarray | float) -> None:
    fresh = np.isinf(weights)
    if np.any(self._fresh.weights[rows] != fresh):
      self._fresh.set(rows, np.where(fresh, 1.0, 0.0))
    self._finite.set(rows, np.where(fresh, 0.0, weights))
