"""Spaces: encode then decode is the identity; what cannot be read is said."""

import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx import UserError, spaces

WHERE = 'config.env'

ROUND_TRIPS = [
  gs.Discrete(5),
  gs.Discrete(5, start=-3),
  gs.MultiDiscrete([2, 7]),
  gs.MultiDiscrete([2, 7], start=[4, -4]),
  gs.MultiDiscrete([[2, 3], [4, 5]]),
  gs.MultiBinary(4),
  gs.MultiBinary((2, 3)),
  gs.Box(-2, 3, (), np.float32),
  gs.Box(-2, 3, (4, 2), np.float32),
  gs.Box(-np.inf, np.inf, (3,), np.float32),
  gs.Box(-100, 100, (3, 2), np.int64),
  gs.Box(0, 255, (128,), np.uint8),
  gs.Box(0, 255, (40, 36), np.uint8),
  gs.Box(0, 255, (9, 7, 3), np.uint8),
  gs.Box(0, 1, (3,), np.bool_),
  gs.Tuple((gs.Discrete(3), gs.Box(-1, 1, (2,), np.float32))),
  gs.Dict({'a': gs.Discrete(3), 'b': gs.Dict({'c': gs.MultiBinary(2)})}),
]


@pytest.mark.parametrize('space', ROUND_TRIPS, ids=str)
def test_flatten_then_unflatten_is_the_identity(space):
  space.seed(3)
  normal = spaces.normalize(space, WHERE, 'vector')
  for _ in range(5):
    value = space.sample()
    flat = normal.flatten(value)
    back = normal.unflatten(flat)
    assert space.contains(back)
    np.testing.assert_equal(back, value)


@pytest.mark.parametrize('space', ROUND_TRIPS, ids=str)
def test_flat_spaces_are_of_the_normalised_kinds(space):
  space.seed(4)
  normal = spaces.normalize(space, WHERE, 'vector')
  flat = normal.flatten(space.sample())
  assert list(flat) == list(normal.spaces)
  for key, target in normal.spaces.items():
    value = flat[key]
    assert value.shape == target.shape
    assert value.dtype == spaces.data_type(target)
    assert target.contains(value.astype(target.dtype))
    if spaces.is_discrete(target):
      assert len(spaces.classes(target)) == max(1, value.size)
      assert not np.any(target.start)
    elif spaces.is_image(target):
      assert value.ndim == 3
    else:
      assert target.dtype == np.float32
      assert value.ndim <= 2


def test_float64_becomes_float32_and_keeps_infinite_bounds():
  low, high = np.array([-1e300, -2.0]), np.array([np.inf, 3.0])
  box = gs.Box(low, high, dtype=np.float64)
  (flat,) = spaces.normalize(box, WHERE, 'vector').spaces.values()
  assert flat.dtype == np.float32
  assert flat.low.tolist() == [-np.inf, -2.0]
  assert flat.high.tolist() == [np.inf, 3.0]


def test_keys_of_nested_spaces():
  nested = gs.Dict(
    {
      'a': gs.Dict({'b': gs.Discrete(2), 'c': gs.Discrete(3)}),
      'd': gs.Tuple((gs.Discrete(4), gs.Discrete(5))),
    }
  )
  flat = spaces.normalize(nested, WHERE, 'vector').spaces
  assert {k: spaces.classes(v)[0] for k, v in flat.items()} == {
    'a/b': 2,
    'a/c': 3,
    'd/0': 4,
    'd/1': 5,
  }
  pair = gs.Tuple((gs.Discrete(2), gs.Tuple((gs.Discrete(3),))))
  keys = list(spaces.normalize(pair, WHERE, 'action').spaces)
  assert keys == ['action/0', 'action/1/0']


def test_single_spaces_take_the_default_key_but_images_their_own():
  image = gs.Box(0, 255, (8, 8, 1), np.uint8)
  keys = lambda space: list(spaces.normalize(space, WHERE, 'vector').spaces)
  assert keys(gs.Discrete(2)) == ['vector']
  assert keys(image) == ['image']
  assert keys(gs.Dict({'eye': image})) == ['eye']


def test_gray_images_get_a_channel_and_small_grids_stay_vectors():
  shape = lambda *s: (
    spaces.normalize(gs.Box(0, 255, s, np.uint8), WHERE, 'vector')
    .leaves[0]
    .space.shape
  )
  assert shape(84, 84) == (84, 84, 1)
  assert shape(21, 79) == (21, 79)


def test_kinds():
  image = gs.Box(0, 255, (8, 8, 3), np.uint8)
  assert spaces.is_image(image)
  assert not spaces.is_image(gs.Box(0, 1, (8, 8, 3), np.float32))
  assert not spaces.is_discrete(image)
  assert spaces.is_discrete(gs.Discrete(3))
  assert spaces.classes(gs.MultiDiscrete([4, 2])) == (4, 2)
  assert spaces.classes(gs.Discrete(6)) == (6,)
  with pytest.raises(TypeError, match='has no classes: it is not discrete'):
    spaces.classes(image)


def test_zeros_have_the_types_of_run_time():
  flat = {
    'a': gs.Discrete(3),
    'b': gs.MultiDiscrete([2, 5]),
    'c': gs.Box(0, 255, (4, 4, 3), np.uint8),
    'd': gs.Box(-1, 1, (2,), np.float32),
  }
  made = spaces.zeros(flat, 7)
  assert {k: (v.shape, v.dtype.name) for k, v in made.items()} == {
    'a': ((7,), 'int32'),
    'b': ((7, 2), 'int32'),
    'c': ((7, 4, 4, 3), 'uint8'),
    'd': ((7, 2), 'float32'),
  }
  assert not any(value.any() for value in made.values())
  assert spaces.example(flat['d'], (3, 5)).shape == (3, 5, 2)


BAD_SPACES = [
  (gs.Text(3), UserError, "'vector' is a Text space, which cannot be read"),
  (gs.Sequence(gs.Discrete(2)), UserError, 'is a Sequence space'),
  (gs.Graph(gs.Discrete(2), None), UserError, 'is a Graph space'),
  (gs.Dict({'a': gs.Text(3)}), UserError, "config.env: 'a' is a Text space"),
  (gs.Box(0, 1, (2, 2, 2, 2)), ValueError, 'rank 4, at most 3 is supported'),
  (gs.Box(0, 1, (8, 8, 3)), ValueError, 'images, which are uint8'),
  (gs.Box(0, 255, (4, 84, 84), np.uint8), ValueError, 'of 1 to 4 channels'),
  (gs.Box(0, 1, (0,)), ValueError, 'it is empty'),
  (gs.Dict({}), ValueError, 'has no entries'),
  (
    gs.Dict({'a/b': gs.Discrete(2), 'a': gs.Dict({'b': gs.Discrete(2)})}),
    ValueError,
    "two entries of the space are named 'a/b'",
  ),
]


@pytest.mark.parametrize('space, kind, message', BAD_SPACES)
def test_spaces_that_cannot_be_read(space, kind, message):
  with pytest.raises(kind, match=message):
    spaces.normalize(space, WHERE, 'vector')


def test_values_that_are_not_of_their_space():
  space = gs.Dict({'a': gs.Box(-1, 1, (2,)), 'b': gs.Discrete(2)})
  normal = spaces.normalize(space, WHERE, 'vector')
  with pytest.raises(ValueError, match=r"'a': .* shape \(3,\), its space \(2"):
    normal.flatten({'a': np.ones(3), 'b': 1})
  with pytest.raises(ValueError, match="'b': the value has no entry 'b'"):
    normal.flatten({'a': np.ones(2)})


@pytest.mark.parametrize(
  'obs, action, message',
  [
    (['reward'], ['action'], "observation key 'reward' is reserved"),
    (['x'], ['is_last'], "action key 'is_last' is reserved"),
    (['latent/x'], ['action'], "observation key 'latent/x' is reserved"),
    (['x'], ['log/x'], "action key 'log/x' is reserved"),
    (['x', 'y'], ['y'], "'y' is both an observation and an action"),
    (['log/x'], ['y'], 'no observation is left for the agent'),
  ],
)
def test_keys_that_collide(obs, action, message):
  with pytest.raises(ValueError, match=f'config.env: .*{message}'):
    spaces.check_keys(obs, action, WHERE)


def test_keys_for_the_loggers_are_fine():
  spaces.check_keys(['x', 'log/x'], ['action'], WHERE)
