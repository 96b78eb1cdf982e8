"""No decoder."""

import jax
import numpy as np
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import DECODER


def test_nothing_is_decoded_and_nothing_held():
  decoder = Choice(DECODER, 'none')(
    obs_space={'image': gs.Box(0, 255, (64, 64, 3), np.uint8)},
    feat_space={'deter': 8},
    precision=None,
    rngs=None,
  )
  assert decoder({'deter': np.zeros((2, 3, 8))}) == {}
  assert not jax.tree.leaves(nnx.state(decoder))
