"""Tests of the encoder `pooled`."""

import dreamer_example
import jax.numpy as jnp
import numpy as np
import pytest
from dreamer_example import config
from flax import nnx
from gymnasium import spaces

from dreamer_nnx import config as configs
from dreamer_nnx import contracts, testing
from dreamer_nnx.nn.precision import Precision

IMAGE = {'image': spaces.Box(0, 255, (8, 8, 3), np.uint8)}


def test_keeps_its_promises():
  testing.check_encoder('pooled', units=8)


def test_other_blocks_keep_them_too():
  testing.check_encoder('pooled', units=8, blocks=2, obs_space=IMAGE)


def test_pixels_of_a_block_are_alike():
  encoder = dreamer_example.pooled.PooledEncoder(
    IMAGE, units=8, precision=Precision('float32'), rngs=nnx.Rngs(0)
  )
  image = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
  moved = image.copy()
  moved[:2, :2] = moved[:2, :2][::-1, ::-1]
  tokens = [encoder({'image': jnp.asarray(x)}) for x in (image, moved)]
  np.testing.assert_allclose(*tokens, atol=1e-5)


def test_blocks_have_to_divide_the_sides():
  with pytest.raises(testing.Broken, match='blocks = 3: must divide'):
    testing.check_encoder('pooled', blocks=3, obs_space=IMAGE)


def test_config_chooses_it():
  found = configs.resolve(config.get_config())
  assert found.encoder.name == 'pooled'


def test_made_for_these_contracts():
  assert dreamer_example.DREAMER_NNX_CONTRACTS == contracts.VERSION
