"""Random shifts: what is cut out, what moves together, and how often."""

import jax
import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx.augmentations.random_shift import RandomShift, shift
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import AUGMENTATION


def image(height, width, channels=3):
  return gs.Box(0, 255, (height, width, channels), np.uint8)


SPACE = {
  'front': image(8, 12),
  'back': image(8, 12, 1),
  'speed': gs.Box(-np.inf, np.inf, (2,), np.float32),
  'goal': gs.Discrete(3),
}
ROWS, LENGTH = 40, 3
RNG = np.random.default_rng(0)


def observe(rows=ROWS):
  lead = rows, LENGTH
  pixels = lambda c: RNG.integers(0, 256, (*lead, 8, 12, c)).astype(np.uint8)
  return {
    'front': pixels(3),
    'back': pixels(1),
    'speed': RNG.normal(size=(*lead, 2)).astype(np.float32),
    'goal': RNG.integers(0, 3, lead).astype(np.int32),
  }


def places(found, x, pad):
  """Where in the padded images each image is cut out, (B, T, 2)."""
  border = (pad, pad)
  padded = np.pad(x, [(0, 0)] * 2 + [border] * 2 + [(0, 0)], 'edge')
  result = np.full((*x.shape[:2], 2), -1)
  for y, z in np.ndindex(2 * pad + 1, 2 * pad + 1):
    cut = padded[:, :, y : y + x.shape[2], z : z + x.shape[3]]
    same = (np.asarray(found) == cut).all((2, 3, 4))
    result[same] = y, z
  return result


@pytest.mark.parametrize('shared', [True, False])
def test_images_are_cut_out_of_their_padded_forms(shared):
  augment, obs = RandomShift(SPACE, pad=2, shared=shared), observe()
  found = jax.jit(augment)(obs, jax.random.key(0))
  place = places(found['front'], obs['front'], 2)
  # Every one is found, and all image keys are at one place.
  assert (place >= 0).all()
  np.testing.assert_array_equal(places(found['back'], obs['back'], 2), place)
  together = (place == place[:, :1]).all((1, 2))
  assert together.all() if shared else not together.all()
  # Every distance occurs, in either direction by itself.
  rows = place.reshape(-1, 2)
  assert {*rows[:, 0]} == {*rows[:, 1]} == set(range(5))
  assert (rows[:, 0] != rows[:, 1]).any()


def test_vectors_stay_and_formats_do():
  obs = observe(2)
  before = dict(obs)
  found = RandomShift(SPACE)(obs, jax.random.key(0))
  assert found['speed'] is obs['speed'] and found['goal'] is obs['goal']
  for key in ('front', 'back'):
    assert found[key].dtype == np.uint8
    assert found[key].shape == obs[key].shape
  assert obs == before


def test_the_key_decides():
  augment, obs = jax.jit(RandomShift(SPACE)), observe()
  first, again, other = (
    np.asarray(augment(obs, jax.random.key(i))['front']) for i in (0, 0, 1)
  )
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_a_shift_by_nothing_is_the_identity():
  x = observe(3)['front']
  offsets = np.array([[2, 2], [2, 2], [4, 1]])
  found = np.asarray(jax.jit(shift, static_argnums=2)(x, offsets, 2))
  np.testing.assert_array_equal(found[:2], x[:2])
  # Two down in the padded image is two up in what is seen, and one to the left.
  np.testing.assert_array_equal(found[2, :, :6, 1:], x[2, :, 2:, :-1])
  np.testing.assert_array_equal(found[2, :, 7, 1:], x[2, :, 7, :-1])
  obs, none = observe(3), RandomShift(SPACE, pad=0)
  found = none(obs, jax.random.key(0))['front']
  np.testing.assert_array_equal(found, obs['front'])
  assert none.scale == 0 and RandomShift(SPACE).scale


def test_images_of_several_sizes_move_alike():
  space = {'small': image(6, 7, 1), 'large': image(20, 9, 1)}
  draw = lambda s: RNG.integers(0, 256, (9, 2, *s.shape)).astype(np.uint8)
  obs = {key: draw(s) for key, s in space.items()}
  found = jax.jit(RandomShift(space, pad=3))(obs, jax.random.key(0))
  small, large = (places(found[k], obs[k], 3) for k in space)
  np.testing.assert_array_equal(small, large)


def test_it_refuses_what_it_cannot_shift():
  choice = Choice(AUGMENTATION, 'random_shift').at('config.augmentations')
  vectors = {k: SPACE[k] for k in ('speed', 'goal')}
  message = "^config.augmentations.random_shift: there is no image.*'goal', 'sp"
  with pytest.raises(UserError, match=message):
    choice(obs_space=vectors)
  message = "random_shift.pad = 8: must be below 8, a side of 'back'."
  with pytest.raises(UserError, match=message):
    choice.replace(pad=8)(obs_space=SPACE)
