"""Random crops: which part is shown, and how it is enlarged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx.augmentations.crop import Crop, crop, weights
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import AUGMENTATION


def image(height, width, channels=3):
  return gs.Box(0, 255, (height, width, channels), np.uint8)


IMAGES = {'image': image(8, 12), 'back': image(16, 24, 2)}
SPACE = IMAGES | {'goal': gs.Discrete(3)}
RNG = np.random.default_rng(0)
SHARE = 0.5
ROWS, LENGTH = 60, 2


def draw(rows, space):
  shape = rows, LENGTH, *space.shape
  return RNG.integers(0, 256, shape).astype(np.uint8)


def ramps(space):
  """Images whose channels tell the place of each pixel: its row and column.

  The numbers are 10 for a unit of 1/16 of the height and of the width.
  """
  height, width, _ = space.shape
  rows = (np.arange(height) + 0.5) * 160 / height
  columns = (np.arange(width) + 0.5) * 160 / width
  place = np.stack(np.meshgrid(rows, columns, indexing='ij'), -1)
  image = np.round(place).astype(np.uint8)
  return np.broadcast_to(image, (ROWS, LENGTH, *image.shape))


def window(x):
  """Side and start, in shares, of the ramps that are left (B, T, n)."""
  n, x = x.shape[-1], np.asarray(x, float)
  a, b = n // 4, 3 * n // 4
  side = (x[..., b] - x[..., a]) / 80
  return side, x[..., a] / 160 - (a + 0.5) / n * side


@pytest.mark.parametrize('shared', [True, False])
def test_windows_are_of_all_sizes_at_all_places_of_all_keys_alike(shared):
  space = {'image': image(16, 32, 2), 'back': image(32, 16, 2)}
  augment = jax.jit(Crop(space, share=SHARE, shared=shared))
  obs = {key: ramps(s) for key, s in space.items()}
  found = augment(obs, jax.random.key(0))
  # By key and direction: sides, and starts.
  parts = [
    window(x)
    for key in space
    for x in (found[key][:, :, :, 0, 0], found[key][:, :, 0, :, 1])
  ]
  sides, starts = np.array(parts).swapaxes(0, 1)
  # What is read was rounded to whole numbers twice.
  near = lambda a, b: np.testing.assert_allclose(a, b, atol=0.03)
  near(sides, np.broadcast_to(sides[0], sides.shape))
  near(starts[:2], starts[2:])
  together = np.abs(starts - starts[..., :1]).max((0, 2)) < 0.03
  assert together.all() if shared else together.mean() < 0.5
  # Sizes from a half to the whole; windows within the image, up to its ends.
  assert abs(sides.min() - SHARE) < 0.05 and abs(sides.max() - 1) < 0.05
  assert abs(starts.min()) < 0.03 and abs((starts + sides).max() - 1) < 0.03
  # Height and width by themselves.
  assert np.abs(starts[0] - starts[1]).max() > 0.1


def test_a_window_is_mixed_linearly_by_hand():
  x = draw(2, SPACE['image'])
  size, start = np.float32([[0.5], [0.7]]), np.float32([[0.25, 0], [0.1, 0.3]])
  found = np.asarray(jax.jit(crop)(x, size, start))
  for n, s, i, j in np.ndindex(2, LENGTH, 8, 12):
    y = np.clip((i + 0.5) * size[n, 0] + start[n, 0] * 8 - 0.5, 0, 7)
    z = np.clip((j + 0.5) * size[n, 0] + start[n, 1] * 12 - 0.5, 0, 11)
    up, left = int(min(y, 6)), int(min(z, 10))
    four = x[n, s, up : up + 2, left : left + 2].astype(float)
    p, q = ([1 - rest, rest] for rest in (y - up, z - left))
    expected = np.einsum('a,b,abc->c', p, q, four)
    # Rounded to the nearest.
    assert np.abs(found[n, s, i, j] - expected).max() < 0.501


def test_weights_add_up_to_one():
  size = RNG.uniform(0.3, 1, (20, 1)).astype(np.float32)
  found = weights(9, size, RNG.uniform(size=(20, 1)) * (1 - size))
  np.testing.assert_allclose(found.sum(-1), np.ones((20, 9)), atol=1e-5)
  assert (found >= 0).all()


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_the_whole_image_is_the_identity(dtype):
  x = np.arange(256, dtype=np.uint8).reshape(1, 1, 8, 8, 4)
  ones, zeros = np.ones((1, 1), np.float32), np.zeros((1, 2), np.float32)
  np.testing.assert_array_equal(crop(x, ones, zeros), x)
  # In the formats, too, that an accelerator may multiply in.
  rows = weights(8, ones, zeros[:, :1]).astype(dtype)
  y = jnp.einsum('nyh,nshwc->nsywc', rows, x.astype(dtype))
  np.testing.assert_array_equal(y.astype(np.uint8), x)


def test_the_key_decides_and_the_rest_stays():
  goal = RNG.integers(0, 3, (5, LENGTH)).astype(np.int32)
  obs = {key: draw(5, s) for key, s in IMAGES.items()} | {'goal': goal}
  augment = jax.jit(Crop(SPACE))
  first, again, other = (augment(obs, jax.random.key(i)) for i in (0, 0, 1))
  for key in ('image', 'back'):
    assert first[key].dtype == np.uint8
    assert first[key].shape == obs[key].shape
    np.testing.assert_array_equal(first[key], again[key])
    assert (first[key] != other[key]).any()
    assert (first[key] != obs[key]).any()
  np.testing.assert_array_equal(first['goal'], goal)


def test_a_share_of_one_changes_nothing():
  none = Crop(SPACE, share=1.0)
  obs = {key: draw(3, s) for key, s in IMAGES.items()}
  assert none.scale == 0 and Crop(SPACE).scale > 0
  for key, x in jax.jit(none)(obs, jax.random.key(0)).items():
    np.testing.assert_array_equal(x, obs[key])


def test_vectors_alone_are_refused():
  choice = Choice(AUGMENTATION, 'crop').at('config.augmentations')
  message = '^config.augmentations.crop: there is no image to augment'
  with pytest.raises(UserError, match=message):
    choice(obs_space={'goal': gs.Discrete(3)})
