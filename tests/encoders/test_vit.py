"""The vision transformer: patches, positions, and what it refuses."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx.encoders.vit import ViTEncoder, patches
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENCODER
from tests.encoders.observing import IMAGES, image, make, observe, pixels

SMALL = dict(patch=4, depth=3, blocks=1, heads=2, units=4)
# Of 8x12 pixels.
COUNT = 6


def vit(**kw):
  return make(ViTEncoder, IMAGES, **SMALL | kw)


def permuted(obs, order):
  """Images whose patches are in another order."""

  def permute(x):
    n, _, _, c = x.shape
    rows = np.asarray(patches(x, 4))[:, order].reshape(n, 2, 3, 4, 4, c)
    return rows.swapaxes(2, 3).reshape(x.shape)

  return {key: permute(x) for key, x in obs.items()}


def test_patches_are_cut_row_by_row():
  x = np.arange(2 * 8 * 12 * 3).reshape(2, 8, 12, 3)
  found = np.asarray(patches(x, 4))
  assert found.shape == (2, COUNT, 48)
  for i, (row, column) in enumerate(np.ndindex(2, 3)):
    cut = x[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
    np.testing.assert_array_equal(found[:, i], cut.reshape(2, -1))


def test_without_positions_features_move_with_their_patches():
  encoder, obs = vit(), observe(2, space=IMAGES)
  order = np.array([3, 5, 0, 1, 4, 2])
  encode = jax.jit(lambda encoder, obs: encoder(obs).reshape(2, COUNT, -1))
  moved = permuted(obs, order)
  apart = np.abs(encode(encoder, moved) - encode(encoder, obs)[:, order]).max()
  assert apart > 1e-2
  encoder.images.positions[...] = jnp.zeros((COUNT, 4))
  found, expected = encode(encoder, moved), encode(encoder, obs)
  np.testing.assert_allclose(found, expected[:, order], atol=1e-5)
  assert np.abs(found - expected).max() > 1e-2


def test_every_patch_sees_every_other():
  encode = lambda x: encoder.images.encoding(1)(x)[0].reshape(COUNT, -1)
  encoder, x = vit(), pixels(observe(1, space=IMAGES))
  slopes = jax.jit(jax.jacrev(lambda x: encode(x).sum(-1)))(jnp.asarray(x))
  # (P, 1, 8, 12, C) to (P, P).
  seen = [np.abs(patches(s, 4)).max((0, 2)) for s in slopes]
  assert (np.stack(seen) > 1e-7).all()


def test_one_block_by_hand():
  encoder = vit(norm='none', act='relu', heads=1)
  part, obs = encoder.images, observe(2, space=IMAGES)
  x = np.asarray(part.embed(patches(jnp.asarray(pixels(obs)), 4)))
  x = x + np.asarray(part.positions[...])
  block = part.blocks[0]
  q, k, v = (np.asarray(y) for y in block.attention.project(x))
  weights = np.exp(q @ k.swapaxes(1, 2) / 4**0.5)
  weights /= weights.sum(-1, keepdims=True)
  x = x + np.asarray(block.attention.out(weights @ v))
  x = x + np.asarray(block.down(np.maximum(np.asarray(block.up(x)), 0)))
  expected = np.asarray(part.out(x)).reshape(2, -1)
  np.testing.assert_allclose(jax.jit(encoder)(obs), expected, atol=1e-4)


@pytest.mark.parametrize(
  ('sides', 'patch', 'sizes', 'near'),
  [
    ((64, 64), 7, '63x63 or 70x70', '4 or 8'),
    ((48, 36), 5, '45x35 or 50x40', '4 or 6'),
    ((8, 12), 9, '9x9 or 9x18', '4'),
  ],
)
def test_a_patch_that_does_not_fit_is_refused(sides, patch, sizes, near):
  choice = Choice(ENCODER, 'vit', patch=patch).at('config.encoder')
  message = (
    f"config.encoder.vit.patch = {patch}: must divide each image: 'image' of "
    f'{sides[0]}x{sides[1]} pixels ({sizes} would do). Scale images in the '
    f'environment (`image_size`, where it has that), or choose {near}.'
  )
  with pytest.raises(ValueError, match=re.escape(message)):
    choice(
      obs_space={'image': image(*sides)},
      precision=Precision(),
      rngs=nnx.Rngs(0),
    )


def test_heads_that_do_not_fit_are_refused():
  with pytest.raises(ValueError, match='units = 4: must be a multiple'):
    vit(heads=3)
