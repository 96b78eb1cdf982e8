"""Which stored sequences to train on: each draws rows where windows start."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from dreamer_nnx.replay.chunks import ChunkPool
from dreamer_nnx.replay.tree import SumTree


class Selector(Protocol):
  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    """Draws (count,) starts of a synced pool that holds at least one."""
    ...


class Uniform:
  """Every start alike."""

  def __init__(self, pool: ChunkPool):
    self._pool = pool

  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    starts = self._pool.starts[:-1]
    upto = starts.cumsum()
    rank = rng.integers(upto[-1], size=count)
    slot = upto.searchsorted(rank, side='right')
    offset = rank - (upto[slot] - starts[slot])
    return slot * self._pool.chunk_size + offset


class Recency:
  """Newer starts more often, by a power of their age.

    P(a) ∝ ∫ x^-exponent dx from a + 1 to a + 2,   0 <= a < N

  where age a counts the younger starts among the N held. Exponent 0 is
  uniform. Starts of different workers at the same time share their age.
  """

  def __init__(self, pool: ChunkPool, exponent: float):
    self._pool = pool
    self._exponent = exponent

  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    pool = self._pool
    starts = pool.starts[:-1].reshape(pool.num_groups, pool.num_envs)
    ring = (pool.newest - np.arange(pool.num_groups)) % pool.num_groups
    held = starts.sum(1)[ring]
    upto = held.cumsum()
    age = self._ages(rng, count, int(upto[-1]))
    place = upto.searchsorted(age, side='right')
    share = (age - (upto[place] - held[place])) / held[place]
    counts = starts[ring[place]]
    point = rng.random(count) * held[place]
    worker = (counts.cumsum(1) <= point[:, None]).sum(1)
    own = counts[np.arange(count), worker]
    offset = own - 1 - (share * own).astype(np.int64)
    slot = ring[place] * pool.num_envs + worker
    return slot * pool.chunk_size + offset

  def _ages(
    self, rng: np.random.Generator, count: int, held: int
  ) -> np.ndarray:
    point, power = rng.random(count), 1 - self._exponent
    if power:
      x = (1 + point * ((held + 1) ** power - 1)) ** (1 / power)
    else:
      x = (held + 1) ** point
    return np.clip(x.astype(np.int64) - 1, 0, held - 1)


class Priority:
  """Starts in proportion to the priorities of the steps that follow.

    P(s) ∝ m max pₜ^e + (1 - m) mean pₜ^e

  over the steps t of the window behind its context: those that are trained on.

  Starts of infinite weight, never drawn before by default, come first and each
  at most once a draw. Those steps of a drawn window have priority 0 until
  `update` tells their new one. Where all weights are 0 the draw is uniform.
  """

  step_bytes = 3 * 8  # Of memory, for two trees and the priorities.

  def __init__(
    self,
    pool: ChunkPool,
    context: int,
    exponent: float,
    max_fraction: float,
    initial: float,
  ):
    rows = pool.num_chunks * pool.chunk_size
    self._pool = pool
    self._context = context
    self._exponent = exponent
    self._max_fraction = max_fraction
    self._initial = initial**exponent
    self._uniform = Uniform(pool)
    self._fresh = SumTree(rows)  # 1 for each start of infinite weight.
    self._finite = SumTree(rows)
    self._drawn: list[np.ndarray] = []  # Starts whose steps must become 0.
    self._stale: list[np.ndarray] = []  # Last rows of changed windows.
    self._known = np.zeros(pool.num_chunks, np.int64)
    # Step priorities to the exponent, shaped like the pool.
    self.powers = np.empty((pool.num_chunks, pool.chunk_size))
    # Rows that changed, until someone notes it.
    self.touched = np.zeros(rows, bool)

  def reset(self, slots: slice) -> None:
    """Forgets chunks about to be recycled; their steps are new again."""
    size = self._pool.chunk_size
    self.finish()
    self.powers[slots] = self._initial
    if self._known[slots].any():
      self._weigh(np.arange(slots.start * size, slots.stop * size), 0.0)
    self._known[slots] = 0

  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    self.finish()
    self._settle()
    self._learn_starts()
    fresh = round(self._fresh.total)
    first = min(fresh, count)
    rows = np.empty(0, np.int64)
    if first:
      ranks = rng.choice(fresh, first, replace=False)
      rows = self._fresh.find(ranks + 0.5)
    if first < count:
      rest = self._select_finite(rng, count - first)
      rows = np.concatenate([rows, rest])
    self._drawn.append(rows)
    return rows

  def finish(self) -> None:
    """Sets the priorities of what was drawn to 0.

    Not while it is drawn: the batch is waited for, and this is not.
    """
    if self._drawn:
      rows, self._drawn = np.concatenate(self._drawn), []
      windows = self._pool.around(rows, 0, self._pool.length - 1)
      self.powers.reshape(-1)[windows[:, self._context :]] = 0
      self.touched[windows[:, self._context :]] = True
      self._stale.append(windows[:, -1])

  def update(
    self, rows: np.ndarray, alive: np.ndarray, priority: np.ndarray
  ) -> None:
    """Sets the priorities (B, T) of steps where alive (B, T)."""
    self.finish()
    powers = np.maximum(priority, 0).astype(np.float64) ** self._exponent
    self.powers.reshape(-1)[rows[alive]] = powers[alive]
    self.touched[rows[alive]] = True
    # The oldest is recycled first: if any step of a row lives, the last does.
    self._stale.append(rows[alive[:, -1], -1])
    self._settle()

  def _select_finite(self, rng: np.random.Generator, count: int) -> np.ndarray:
    total = self._finite.total
    if total > 0:
      return self._finite.find(rng.random(count) * total)
    return self._uniform.select(rng, count)

  def _settle(self) -> None:
    """Weighs anew what stale windows touch, drawn and then updated as one."""
    if self._stale:
      reach = self._pool.length - 1
      rows = np.unique(np.concatenate(self._stale))
      self._stale = []
      self._reweigh(rows, 2 * reach, reach)

  def _learn_starts(self) -> None:
    """Weighs the starts that became complete since the last draw."""
    pool, most = self._pool, 64
    grown = np.flatnonzero(pool.starts[:-1] != self._known)
    for slots in np.split(grown, range(most, len(grown), most)):
      if len(slots):
        known = self._known[slots]
        count = int((pool.starts[slots] - known).max())
        rows = slots * pool.chunk_size + known
        self._reweigh(rows, 0, count - 1 + pool.length - 1)
    self._known[:] = pool.starts[:-1]

  def _reweigh(self, rows: np.ndarray, before: int, after: int) -> None:
    """Weighs anew all starts of windows inside a stretch around rows."""
    stretch = self._pool.around(rows, before, after)
    powers = np.where(stretch >= 0, self.powers.reshape(-1)[stretch], 0)
    weights = self._weights(powers)
    starts = stretch[:, : weights.shape[1]]
    valid = (starts >= 0) & self._pool.is_start(starts)
    self._weigh(starts[valid], weights[valid])

  def _weights(self, powers: np.ndarray) -> np.ndarray:
    powers = powers[:, self._context :]
    length, finite = self._pool.length - self._context, np.isfinite(powers)
    most = _slide(np.maximum, powers, length)
    mean = _slide(np.add, np.where(finite, powers, 0), length) / length
    if finite.all():
      return self._max_fraction * most + (1 - self._max_fraction) * mean
    finite = np.isfinite(most)
    most = self._max_fraction * np.where(finite, most, 0)
    return np.where(finite, most + (1 - self._max_fraction) * mean, np.inf)

  def _weigh(self, rows: np.ndarray, weights: np.ndarray | float) -> None:
    fresh = np.isinf(weights)
    if np.any(self._fresh.weights[rows] != fresh):
      self._fresh.set(rows, np.where(fresh, 1.0, 0.0))
    self._finite.set(rows, np.where(fresh, 0.0, weights))


class Mixture:
  """Each sequence of a batch draws its selector by the fractions."""

  def __init__(self, selectors: Sequence[Selector], fractions: Sequence[float]):
    self._selectors = list(selectors)
    self._upto = np.cumsum(fractions) / np.sum(fractions)

  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    if len(self._selectors) == 1:
      return self._selectors[0].select(rng, count)
    which = self._upto[:-1].searchsorted(rng.random(count), side='right')
    rows = np.empty(count, np.int64)
    for index, selector in enumerate(self._selectors):
      mine = which == index
      if mine.any():
        rows[mine] = selector.select(rng, int(mine.sum()))
    return rows


def _slide(combine: np.ufunc, values: np.ndarray, length: int) -> np.ndarray:
  """Combines every window of (B, n) values: (B, n - length + 1).

  Windows grow by doubling, so each result is combined in the same order
  whatever stretch it is computed from, and rounds alike.
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
