"""Recurrent state-space model around a block-diagonal GRU."""

import functools
from collections.abc import Mapping
from typing import ClassVar

from gymnasium import spaces as gym_spaces

from dreamer_nnx.dynamics.core import BlockGRU
from dreamer_nnx.dynamics.recurrent import Recurrent
from dreamer_nnx.nn.mlp import Layers
from dreamer_nnx.schema import Count
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import DYNAMICS


@DYNAMICS.register('rssm')
class RSSM(Recurrent):
  """A block GRU and a stochastic part.

    deter' = core(deter, stoch, action)
    posterior = net([deter', tokens]),   prior = net(deter')

  Args:
    deter: D.
    dynlayers: Layers of the core.
    blocks: G of the core.
    absolute: The posterior reads the tokens alone.

  Source: Hafner et al. 2025; danijar/dreamerv3 `rssm.py`.
  """

  sizes: ClassVar = {
    '1m': {'deter': 512, 'hidden': 64},
    '12m': {'deter': 2048, 'hidden': 256},
    '25m': {'deter': 3072, 'hidden': 384},
    '50m': {'deter': 4096, 'hidden': 512},
    '100m': {'deter': 6144, 'hidden': 768},
    '200m': {'deter': 8192, 'hidden': 1024},
    '400m': {'deter': 12288, 'hidden': 1536},
  }

  @takes(Recurrent)
  def __init__(
    self,
    token_size: int,
    action_space: Mapping[str, gym_spaces.Space],
    *,
    deter: Count = 4096,
    dynlayers: Layers = 1,
    blocks: Count = 8,
    absolute: bool = False,
    **shared,
  ):
    core = functools.partial(BlockGRU, deter, blocks=blocks, layers=dynlayers)
    super().__init__(token_size, action_space, deter, core, absolute, **shared)
