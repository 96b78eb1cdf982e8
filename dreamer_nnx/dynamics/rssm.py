"""Recurrent state-space model around a block-diagonal GRU."""

import functools
from collections.abc import Mapping

from dreamer_nnx.dynamics.core import BlockGRU
from dreamer_nnx.dynamics.recurrent import Recurrent
from dreamer_nnx.nn.mlp import Layers
from dreamer_nnx.schema import Count
from dreamer_nnx.signatures import takes
from dreamer_nnx.sizes import DETER, UNITS, by_size
from dreamer_nnx.slots import DYNAMICS
from dreamer_nnx.spacetypes import Space


@DYNAMICS.register('rssm')
class RSSM(Recurrent):
  """A block GRU and a stochastic part.

    deter' = core(deter, stoch, action)
    posterior = net([deter', tokens]),   prior = net(deter')

  Args:
    deter: D, the size of the recurrent state.
    dynlayers: Block-linear layers of the core before its gates.
    blocks: G, diagonal blocks of the kernels of the core; divides `deter`.
    absolute: The posterior reads the tokens alone, not deter.

  Source: Hafner et al. 2025 (arXiv 2301.04104); danijar/dreamerv3 `rssm.py`.
  """

  sizes = by_size(deter=DETER, hidden=UNITS)

  @takes(Recurrent)
  def __init__(
    self,
    token_size: int,
    action_space: Mapping[str, Space],
    *,
    deter: Count = 4096,
    dynlayers: Layers = 1,
    blocks: Count = 8,
    absolute: bool = False,
    **shared,
  ):
    core = functools.partial(BlockGRU, deter, blocks=blocks, layers=dynlayers)
    super().__init__(token_size, action_space, deter, core, absolute, **shared)
