"""The encoder: sizes, keys, squashing, invariance."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.encoders.simple import SimpleEncoder
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENCODER
from tests.filling import filled


def image(height, width, channels=3):
  return gs.Box(0, 255, (height, width, channels), np.uint8)


VECTORS = {
  'speed': gs.Box(-np.inf, np.inf, (2,), np.float32),
  'goal': gs.Discrete(3),
}
IMAGES = {'front': image(8, 12), 'back': image(8, 12, 1)}
SPACE = VECTORS | IMAGES
SMALL = dict(depth=2, mults=(1, 2), layers=1, units=4)


def make(space=SPACE, compute='float32', **kw):
  precision = Precision(compute)
  return filled(
    lambda rngs: SimpleEncoder(
      space, **SMALL | {'mults': (2,)} | kw, precision=precision, rngs=rngs
    )
  )


def observe(*batch, space=SPACE):
  rng = np.random.default_rng(0)
  draw = {
    'speed': lambda: rng.normal(0, 5, (*batch, 2)).astype(np.float32),
    'goal': lambda: rng.integers(0, 3, batch).astype(np.int32),
    'front': lambda: rng.integers(0, 256, (*batch, 8, 12, 3)).astype(np.uint8),
    'back': lambda: rng.integers(0, 256, (*batch, 8, 12, 1)).astype(np.uint8),
  }
  return {key: draw[key]() for key in space}


@pytest.mark.parametrize(
  ('sides', 'size', 'options'),
  [
    ((16, 24), 4 * 6 * 4, {}),
    ((16, 24), 4 * 6 * 4, {'strided': True}),
    ((8, 12), 4 * 6 * 4, {'outer': True}),
    ((8, 12), 4 * 6 * 4, {'outer': True, 'strided': True}),
    ((32, 24), 4 * 3 * 6, {'mults': (1, 2, 3)}),
    ((16, 16), 4 * 4 * 4, {'kernel': 3, 'norm': 'layer', 'act': 'relu'}),
  ],
  ids=str,
)
def test_token_size_is_that_of_the_tokens(sides, size, options):
  space = VECTORS | {'front': image(*sides), 'back': image(*sides, 1)}
  arrays = {k: np.zeros((2, *s.shape), s.dtype) for k, s in space.items()}

  def tokens():
    encoder = SimpleEncoder(
      space, **SMALL | options, precision=Precision(), rngs=nnx.Rngs(0)
    )
    assert encoder.token_size == SMALL['units'] + size
    return encoder(arrays)

  shape = jax.eval_shape(tokens).shape
  assert shape == (2, SMALL['units'] + size)


@pytest.mark.parametrize('space', [VECTORS, IMAGES], ids=['vectors', 'images'])
def test_either_kind_alone_is_its_part_of_both(space):
  both = jax.jit(make())(observe(3))
  encoder = make(space)
  part = both[:, :4] if space is VECTORS else both[:, 4:]
  assert encoder.token_size == part.shape[1]
  assert jax.eval_shape(encoder, observe(3)).shape == part.shape


def test_leading_axes_and_order_of_rows_do_not_matter():
  encoder = jax.jit(make())
  obs = observe(2, 3)
  tokens = np.asarray(encoder(obs))
  assert tokens.shape[:2] == (2, 3)
  flat = {k: v.reshape(6, *v.shape[2:])[::-1] for k, v in obs.items()}
  # Other batch sizes may add up in another order.
  np.testing.assert_allclose(
    encoder(flat)[::-1].reshape(tokens.shape), tokens, atol=1e-5
  )


def test_order_of_keys_and_other_keys_do_not_matter():
  encoder, turned = make(), make(dict(reversed(SPACE.items())))
  obs = observe(2)
  other = dict(reversed(obs.items())) | {'reward': np.ones(2), 'log/x': [1, 2]}
  np.testing.assert_array_equal(encoder(obs), turned(other))


@pytest.mark.parametrize('symlog', [True, False])
def test_without_layers_tokens_are_the_squashed_vectors(symlog):
  encoder = make(VECTORS, layers=0, symlog=symlog)
  speed = np.float32([[1, -7], [0, 3]])
  tokens = encoder({'speed': speed, 'goal': np.int32([2, 0])})
  squashed = np.sign(speed) * np.log1p(np.abs(speed)) if symlog else speed
  expected = np.concatenate([np.eye(3)[[2, 0]], squashed], -1)
  np.testing.assert_allclose(tokens, expected, rtol=1e-6)


def test_a_missing_vector_is_encoded_as_zeros():
  encoder = jax.jit(make(VECTORS))
  obs = observe(2, space=VECTORS)
  missing, zero = obs['speed'].copy(), obs['speed'].copy()
  missing[1, 0], zero[1] = -np.inf, 0
  np.testing.assert_array_equal(
    encoder(obs | {'speed': missing}), encoder(obs | {'speed': zero})
  )


def test_one_pixel_kernel_by_hand():
  encoder = make(IMAGES, kernel=1, norm='none', act='none')
  obs = observe(1, space=IMAGES)
  # In the order of the alphabet, the back comes first.
  pixels = np.concatenate([obs['back'], obs['front']], -1) / 255 - 0.5
  conv = encoder.images.convs[0]
  y = pixels @ np.asarray(conv.kernel[...])[0, 0] + np.asarray(conv.bias[...])
  y = y.reshape(4, 2, 6, 2, 4).max((1, 3)).reshape(1, -1)
  np.testing.assert_allclose(encoder(obs), y, atol=1e-5)


def test_the_pool_comes_before_norm_and_activation():
  encoder = make(IMAGES)
  obs = observe(1, space=IMAGES)
  part = encoder.images
  pixels = np.concatenate([obs['back'], obs['front']], -1) / 255 - 0.5
  y = np.asarray(part.convs[0](pixels.astype(np.float32)))
  y = y.reshape(1, 4, 2, 6, 2, 4).max((2, 4))
  expected = part.norm_acts[0](y).reshape(1, -1)
  np.testing.assert_allclose(encoder(obs), expected, atol=1e-5)


def test_bfloat16_is_near_float32():
  obs = observe(2)
  found = jax.jit(make(compute='bfloat16'))(obs)
  assert found.dtype == jnp.bfloat16
  # 8 bits of mantissa, on values up to 3.
  np.testing.assert_allclose(
    found.astype(np.float32), jax.jit(make())(obs), atol=0.06
  )


def test_an_image_that_does_not_fit_is_refused_by_its_config_path():
  choice = Choice(ENCODER, 'simple', mults=(2, 3)).at('config.encoder')
  message = (
    'config.encoder.simple.mults: 2 halvings must leave a whole 3 to 16 pixels '
    "a side of each image: 'image' has 20x10 (20x12 would do). Scale"
  )
  with pytest.raises(ValueError, match=re.escape(message)):
    choice(
      obs_space={'image': image(20, 10)},
      precision=Precision(),
      rngs=nnx.Rngs(0),
    )
