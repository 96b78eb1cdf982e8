"""Selectors of the sequences to train on: each draws starts of windows."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from dreamer_nnx.replay.chunks import ChunkPool
from dreamer_nnx.replay.tree import SumTree


class Selector(Protocol):
  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    """Draws (count,) starts of a synced pool that holds at least one."""
    ...


class Uniform:
  """Draws each start with the same probability."""

  def __init__(self, pool: ChunkPool):
    self._pool = pool

  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    starts = self._pool.starts[:-1]  # (slots,)
    cumulative = starts.cumsum()
    rank = rng.integers(cumulative[-1], size=count)
    slot = cumulative.searchsorted(rank, side='right')
    # (slots,) at (count,) -> (count,)
    offset = rank - (cumulative[slot] - starts[slot])
    return slot * self._pool.chunk_size + offset


class Recency:
  """Draws newer starts more often, by a power of their age.

    P(a) ∝ ∫ x^-exponent dx from a + 1 to a + 2,   0 <= a < N

  where age a counts the younger starts among the N held. Exponent 0 is
  uniform. Starts of different workers at the same time share their age.
  """

  def __init__(self, pool: ChunkPool, exponent: float):
    self._pool = pool
    self._exponent = exponent

  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    pool = self._pool
    # (slots,) -> (groups, W)
    starts = pool.starts[:-1].reshape(pool.num_groups, pool.num_envs)
    ring = (pool.newest - np.arange(pool.num_groups)) % pool.num_groups
    # (groups, W) -> (groups,), the youngest first.
    held = starts.sum(1)[ring]
    cumulative = held.cumsum()
    age = self._ages(rng, count, int(cumulative[-1]))
    place = cumulative.searchsorted(age, side='right')
    # (groups,) at (count,) -> (count,)
    share = (age - (cumulative[place] - held[place])) / held[place]
    # (groups, W) at (count,) -> (count, W)
    counts = starts[ring[place]]
    point = rng.random(count) * held[place]
    # (count, W) <= (count, 1) -> (count,)
    worker = (counts.cumsum(1) <= point[:, None]).sum(1)
    # (count, W) at (count,), (count,) -> (count,)
    of_worker = counts[np.arange(count), worker]
    offset = of_worker - 1 - (share * of_worker).astype(np.int64)
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
  """Draws starts in proportion to the priorities of the steps that follow.

    P(s) ∝ m max pₜ^e + (1 - m) mean pₜ^e

  over the steps t of the window after its context, which are trained on.

  Starts of infinite weight, by default all that were never drawn, come first
  and each at most once a draw. The steps of a drawn window that are trained on
  have priority 0 until `update` sets a new one. Where all weights are 0 the
  draw is uniform.
  """

  # Memory of a step in two trees and the priorities.
  step_bytes = 3 * 8

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
    self._drawn: list[np.ndarray] = []  # Starts whose steps are to be set to 0.
    self._stale: list[np.ndarray] = []  # Last rows of changed windows.
    # Starts of each slot that have a weight.
    self._weighed = np.zeros(pool.num_chunks, np.int64)
    # Priorities of steps, to the exponent.
    self.powers = np.empty((pool.num_chunks, pool.chunk_size))
    # Rows whose priority changed since the last save.
    self.touched = np.zeros(rows, bool)

  def reset(self, slots: slice) -> None:
    """Clears chunks about to be recycled, for the steps to come."""
    size = self._pool.chunk_size
    self.zero_drawn()
    self.powers[slots] = self._initial
    if self._weighed[slots].any():
      self._set_weights(np.arange(slots.start * size, slots.stop * size), 0.0)
    self._weighed[slots] = 0

  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    self.zero_drawn()
    self._reweigh_stale()
    self._weigh_new_starts()
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

  def zero_drawn(self) -> None:
    """Sets the priorities of drawn steps to 0.

    Drawing itself does not: the batch is waited for, and this can be later.
    """
    if self._drawn:
      rows, self._drawn = np.concatenate(self._drawn), []
      # (n,) -> (n, length)
      windows = self._pool.around(rows, 0, self._pool.length - 1)
      trained = windows[:, self._context :]
      # (slots, chunk_size) -> (rows,), written at (n, length - context)
      self.powers.reshape(-1)[trained] = 0
      self.touched[trained] = True
      self._stale.append(windows[:, -1])

  def update(
    self, rows: np.ndarray, alive: np.ndarray, priority: np.ndarray
  ) -> None:
    """Sets the priorities (B, T) of the rows (B, T) that are alive (B, T)."""
    self.zero_drawn()
    powers = np.maximum(priority, 0).astype(np.float64) ** self._exponent
    # (slots, chunk_size) -> (rows,), written at (n,) of (B, T)
    self.powers.reshape(-1)[rows[alive]] = powers[alive]
    self.touched[rows[alive]] = True
    # The oldest is recycled first: if any step of a row is alive, the last is.
    # (B, T) at flags (B,) -> (n,)
    self._stale.append(rows[alive[:, -1], -1])
    self._reweigh_stale()

  def _select_finite(self, rng: np.random.Generator, count: int) -> np.ndarray:
    total = self._finite.total
    if total > 0:
      return self._finite.find(rng.random(count) * total)
    return self._uniform.select(rng, count)

  def _reweigh_stale(self) -> None:
    """Updates the weights of all windows with steps in stale ones."""
    if self._stale:
      reach = self._pool.length - 1
      rows = np.unique(np.concatenate(self._stale))
      self._stale = []
      self._reweigh(rows, 2 * reach, reach)

  def _weigh_new_starts(self) -> None:
    """Sets the weights of windows completed since the last draw."""
    pool, limit = self._pool, 64
    grown = np.flatnonzero(pool.starts[:-1] != self._weighed)
    for slots in np.split(grown, range(limit, len(grown), limit)):
      if len(slots):
        weighed = self._weighed[slots]
        count = int((pool.starts[slots] - weighed).max())
        rows = slots * pool.chunk_size + weighed
        self._reweigh(rows, 0, count - 1 + pool.length - 1)
    self._weighed[:] = pool.starts[:-1]

  def _reweigh(self, rows: np.ndarray, before: int, after: int) -> None:
    """Updates the weights of all windows inside a stretch around rows (n,)."""
    # (n,) -> (n, S), S = before + 1 + after
    stretch = self._pool.around(rows, before, after)
    # (slots, chunk_size) -> (rows,), at (n, S) -> (n, S)
    powers = np.where(stretch >= 0, self.powers.reshape(-1)[stretch], 0)
    # (n, S) -> (n, S - length + 1), as many as there are starts.
    weights = self._weights(powers)
    starts = stretch[:, : weights.shape[1]]
    valid = (starts >= 0) & self._pool.is_start(starts)
    # (n, S - length + 1) at flags of that shape -> (m,)
    self._set_weights(starts[valid], weights[valid])

  def _weights(self, powers: np.ndarray) -> np.ndarray:
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

  def _set_weights(self, rows: np.ndarray, weights: np.ndarray | float) -> None:
    fresh = np.isinf(weights)
    if np.any(self._fresh.weights[rows] != fresh):
      self._fresh.set(rows, np.where(fresh, 1.0, 0.0))
    self._finite.set(rows, np.where(fresh, 0.0, weights))


class Mixture:
  """Draws a selector for each sequence of a batch, by the fractions."""

  def __init__(self, selectors: Sequence[Selector], fractions: Sequence[float]):
    self._selectors = list(selectors)
    self._cumulative = np.cumsum(fractions) / np.sum(fractions)

  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    if len(self._selectors) == 1:
      return self._selectors[0].select(rng, count)
    which = self._cumulative[:-1].searchsorted(rng.random(count), side='right')
    rows = np.empty(count, np.int64)
    for index, selector in enumerate(self._selectors):
      chosen = which == index
      if chosen.any():
        rows[chosen] = selector.select(rng, int(chosen.sum()))
    return rows


def make_selector(
  pool: ChunkPool, settings: Any
) -> tuple[Mixture, Priority | None]:
  """Makes the selector of a replay's settings, and the part with priorities."""
  shares: list[tuple[Selector, float]] = []
  priority = None
  if settings.uniform:
    shares.append((Uniform(pool), settings.uniform))
  if settings.priority:
    priority = Priority(
      pool,
      settings.context,
      settings.priority_exponent,
      settings.priority_max_fraction,
      settings.priority_initial,
    )
    shares.append((priority, settings.priority))
  if settings.recency:
    recency = Recency(pool, settings.recency_exponent)
    shares.append((recency, settings.recency))
  return Mixture(*zip(*shares, strict=True)), priority


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
