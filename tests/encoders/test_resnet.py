"""The residual encoder: its stages by hand, and what it refuses."""

import re

import jax
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx.encoders.resnet import ResNetEncoder
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENCODER
from tests.encoders.observing import IMAGES, image, make, observe, pixels


@pytest.mark.parametrize(
  ('sides', 'mults', 'size'),
  [
    ((16, 24), (3,), 8 * 12 * 6),
    ((16, 24), (1, 2), 4 * 6 * 4),
    ((64, 48), (1, 2, 3, 5), 4 * 3 * 10),
  ],
  ids=str,
)
def test_each_stage_halves_the_image(sides, mults, size):
  space = {'image': image(*sides)}

  def tokens():
    precision = Precision('float32')
    kw = dict(depth=2, mults=mults, precision=precision, rngs=nnx.Rngs(0))
    encoder = ResNetEncoder(space, **kw)
    assert encoder.token_size == size
    assert [len(stage) for stage in encoder.images.blocks] == [2] * len(mults)
    return encoder({'image': np.zeros((3, *sides, 3), np.uint8)})

  assert jax.eval_shape(tokens).shape == (3, size)


def test_one_pixel_kernels_by_hand():
  options = dict(depth=2, mults=(2,), kernel=1, norm='none', act='relu')
  encoder = make(ResNetEncoder, IMAGES, blocks=2, **options)
  obs = observe(2, space=IMAGES)

  def conv(layer, x):
    return x @ np.asarray(layer.kernel[...])[0, 0] + np.asarray(layer.bias[...])

  y = conv(encoder.images.convs[0], pixels(obs))
  y = y.reshape(2, 4, 2, 6, 2, 4).max((2, 4))
  for block in encoder.images.blocks[0]:
    z = conv(block.convs[0], np.maximum(y, 0))
    y = y + conv(block.convs[1], np.maximum(z, 0))
  expected = np.maximum(y, 0).reshape(2, -1)
  np.testing.assert_allclose(jax.jit(encoder)(obs), expected, atol=1e-4)


def test_an_image_that_does_not_fit_is_refused_by_its_config_path():
  choice = Choice(ENCODER, 'resnet', mults=(2, 3)).at('config.encoder')
  message = (
    'config.encoder.resnet.mults: 2 halvings must leave a whole 3 to 16 pixels '
    "a side of each image: 'image' has 20x10 (20x12 would do). Scale"
  )
  with pytest.raises(ValueError, match=re.escape(message)):
    choice(
      obs_space={'image': image(20, 10)},
      precision=Precision(),
      rngs=nnx.Rngs(0),
    )
