"""The selector of newer starts more often."""

from typing import Annotated

import numpy as np

from dreamer_nnx.replay.chunks import ChunkPool
from dreamer_nnx.schema import Range, Weight
from dreamer_nnx.slots import SELECTOR


@SELECTOR.register('recency')
class Recency:
  """Draws newer starts more often, by a power of their age.

    P(a) ∝ ∫ x^-exponent dx from a + 1 to a + 2,   0 <= a < N

  where age a counts the younger starts among the N held. Starts of different
  workers at the same time share their age.

  Args:
    share: Part of the draws, relative to the shares of all selectors; 0 for
      none.
    exponent: Power of the age; 0 is uniform.

  Source: Wang & Ross 2019 (arXiv 1906.04009).
  """

  wants = ()

  def __init__(
    self,
    pool: ChunkPool,
    *,
    share: Weight = 1.0,
    exponent: Annotated[float, Range(0)] = 1.0,
  ):
    self.share = share
    self.columns = {}
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
