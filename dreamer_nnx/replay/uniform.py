"""The selector of all starts alike."""

import numpy as np

from dreamer_nnx.replay.chunks import ChunkPool
from dreamer_nnx.schema import Weight
from dreamer_nnx.slots import SELECTOR


@SELECTOR.register('uniform')
class Uniform:
  """Draws each start with the same probability.

  Args:
    share: Part of the draws, relative to the shares of all selectors; 0 for
      none.

  Source: Hafner et al. 2025 (arXiv 2301.04104).
  """

  wants = ()

  def __init__(self, pool: ChunkPool, *, share: Weight = 1.0):
    self.share = share
    self.columns = {}
    self._pool = pool

  def select(self, rng: np.random.Generator, count: int) -> np.ndarray:
    starts = self._pool.starts[:-1]  # (slots,)
    cumulative = starts.cumsum()
    rank = rng.integers(cumulative[-1], size=count)
    slot = cumulative.searchsorted(rank, side='right')
    # (slots,) at (count,) -> (count,)
    offset = rank - (cumulative[slot] - starts[slot])
    return slot * self._pool.chunk_size + offset
