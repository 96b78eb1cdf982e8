"""Draws windows that were drawn less often before."""

import numpy as np

from dreamer_nnx.schema import Count, Weight
from dreamer_nnx.slots import SELECTOR

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@SELECTOR.register('mine')
class Mine:
  """Takes of a few random windows the one that was drawn least.

  Args:
    share: Its part of all draws; 0 leaves it out.
    candidates: Windows that are looked at for each draw.
  """

  # Names of signals that `update` would need.
  wants = ()

  def __init__(self, pool, *, share: Weight = 1.0, candidates: Count = 4):
    self.share, self.candidates, self._pool = share, candidates, pool
    # A number of each step, kept and saved with it: format and first value.
    self.columns = {'visits': (np.float32, 0.0)}

  def select(self, rng, count):
    rows = self._uniform(rng, (count, self.candidates))
    visits = self._pool.columns['visits']
    # (count, candidates) to (count,), the least visited of each.
    chosen = rows[np.arange(count), visits[rows].argmin(1)]
    np.add.at(visits, chosen, 1.0)
    return chosen

  def _uniform(self, rng, shape):
    # The first rows of each slot are starts, as many as `starts` says.
    starts = self._pool.starts[:-1]
    ends = starts.cumsum()
    rank = rng.integers(ends[-1], size=shape)
    slot = ends.searchsorted(rank, side='right')
    return slot * self._pool.chunk_size + rank - (ends - starts)[slot]
