"""Spaces: encode then decode is the identity; what cannot be read is said."""

import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx import UserError, spaces

WHERE = 'config.env'

ROUND_TRIPS = [
  gs.Discrete(5),
  gs.Discrete(5, start=-3),
  gs.Discrete(5, start=3, dtype=np.uint8),
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
  gs.Box(0, 1, (9, 7, 3), np.bool_),
  gs.Box(0, 100, (9, 7, 3), np.int8),
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


@pytest.mark.parametrize('space', [*ROUND_TRIPS, gs.Box(-1, 1, ())], ids=str)
def test_rows_are_what_each_of_them_is(space):
  space.seed(5)
  normal = spaces.normalize(space, WHERE, 'vector')
  flat = [normal.flatten(space.sample()) for _ in range(3)]
  rows = normal.rows({key: np.stack([x[key] for x in flat]) for key in flat[0]})
  for row, one in zip(rows, flat, strict=True):
    want = normal.unflatten(one)
    np.testing.assert_equal(row, want)
    assert space.contains(row) and type(row) is type(want)


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


MOST = np.finfo(np.float32).max
BAD_SPACES = [
  (gs.Text(3), UserError, "'vector': it is a Text space, which cannot be read"),
  (gs.Sequence(gs.Discrete(2)), UserError, 'is a Sequence space'),
  (gs.Graph(gs.Discrete(2), None), UserError, 'is a Graph space'),
  (
    gs.Dict({'a': gs.Text(3)}),
    UserError,
    "config.env: 'a': it is a Text space",
  ),
  (gs.Box(0, 1, (2,) * 5), UserError, 'of rank 5. Arrays of at most rank 4'),
  (gs.Box(0, np.inf, (8, 8, 3)), UserError, 'give the Box finite bounds'),
  (gs.Box(-MOST, MOST, (8, 8, 3)), UserError, 'give the Box finite bounds'),
  (
    gs.Box(-1e300, 1e300, (8, 8, 3), np.float64),
    UserError,
    'give the Box finite bounds',
  ),
  (gs.Discrete(2**31), UserError, "'vector': it has 2147483648 classes. At"),
  (gs.MultiDiscrete([2, 2**40]), UserError, 'it has 1099511627776 classes'),
  (gs.Box(-1, 9, (8, 8, 3), np.int32), UserError, 'numbers are 0 to 255'),
  (gs.Box(0, 1, (0,)), UserError, 'which is empty'),
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
    (['log/x'], ['y'], 'no observation is left to encode'),
  ],
)
def test_keys_that_collide(obs, action, message):
  with pytest.raises(ValueError, match=f'config.env: .*{message}'):
    spaces.check_keys(obs, action, WHERE)


def test_keys_for_the_loggers_are_fine():
  spaces.check_keys(['x', 'log/x'], ['action'], WHERE)


RAMP = np.array([0, 255] * 4, np.uint8).reshape(2, 2, 2)


@pytest.mark.parametrize(
  'space, value, number',
  [
    (gs.Box(0, 255, (8, 8, 3), np.uint8), np.full((8, 8, 3), 0.5), '0.5'),
    (gs.Box(0, 255, (8, 8, 3), np.uint8), np.ones((8, 8, 3)), '1.0'),
    (gs.Box(0, 255, (8, 8, 3), np.uint8), np.full((8, 8, 3), 300), '300'),
    (gs.Box(0, 255, (8, 8, 3), np.uint8), np.full((8, 8, 3), -1), '-1'),
    (gs.Box(0, 9, (8, 8, 3), np.uint8), np.full((8, 8, 3), 10), '10'),
    (gs.Box(0, RAMP, dtype=np.uint8), np.full((2, 2, 2), 1), '1'),
    (gs.Box(0, 1, (8, 8, 3)), np.full((8, 8, 3), 1.5), '1.5'),
    (gs.Box(0, 1, (8, 8, 3)), np.full((8, 8, 3), np.nan), 'nan'),
    (gs.Discrete(3), 3, '3'),
    (gs.Discrete(3), -1, '-1'),
    (gs.Discrete(3), 0.5, '0.5'),
    (gs.Discrete(3), None, 'None'),
    (gs.Discrete(3, start=5), 2, '2'),
    (gs.Discrete(3, start=5), 8, '8'),
    (gs.MultiDiscrete([2, 3]), [0, 3], '3'),
    (gs.MultiDiscrete([2, 3], start=[1, 1]), [0, 1], '0'),
    (gs.MultiBinary(2), [0, 2], '2'),
    (gs.Box(0, 9, (2,), np.int64), [0, 10], '10'),
    (gs.Box(0, 9, (2,), np.int64), [0, 0.5], '0.5'),
    (gs.Box(0, 9, (2,), np.int64), [0, 1e30], '1e+30'),
    (gs.Box(0, 9, (2,), np.uint64), [0.0, -1e30], '-1e+30'),
    (gs.Box(0, 1, (2,), np.bool_), [0, 2], '2'),
    (gs.Box(0, 1, (2, 2, 2), np.bool_), RAMP, '255'),
    (gs.Box(0, 9, (2,)), ['a', 'b'], "'a'"),
  ],
)
@pytest.mark.filterwarnings('error')
def test_values_outside_their_space_are_refused(space, value, number):
  normal = spaces.normalize(gs.Dict({'a': space}), WHERE, 'vector')
  with pytest.raises(ValueError) as error:
    normal.flatten({'a': value})
  assert str(error.value).startswith(f"'a': {number} is not in its space ")
  assert str(space) in str(error.value)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('given', [np.float32, np.float64, np.int64, list])
@pytest.mark.parametrize('nested', [False, True])
def test_floats_are_read_as_float32_in_new_arrays(dtype, given, nested):
  box = gs.Box(-np.inf, np.inf, (2,), dtype)
  space = gs.Dict({'a': box, 'b': gs.Dict({'c': box})}) if nested else box
  flatten = spaces.normalize(space, WHERE, 'a').flatten
  large = 1e300 if given is np.float64 else 3.0
  numbers = [large, 2.0]
  value = numbers if given is list else np.array(numbers, given)
  read = flatten({'a': value, 'b': {'c': value}} if nested else value)
  assert [*read] == (['a', 'b/c'] if nested else ['a'])
  for array in read.values():
    assert array.dtype == np.float32
    assert array.tolist() == [np.inf if large > 3 else 3.0, 2.0]
    assert given is list or not np.shares_memory(array, value)
  with pytest.raises(ValueError, match="'a': the value has the shape"):
    flatten({'a': value[:1], 'b': {'c': value}} if nested else value[:1])
  if nested and given is dtype:
    with pytest.raises(ValueError, match="'b/c': the value has no entry 'c'"):
      flatten({'a': value, 'b': value})


@pytest.mark.parametrize(
  'shape', [(8, 8, 3), (40, 40), (3, 8, 8), (2, 8, 8, 3)]
)
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_images_are_read_in_new_arrays(shape, dtype):
  space = gs.Box(0, 255 if dtype is np.uint8 else 1, shape, dtype)
  normal = spaces.normalize(gs.Dict({'a': space}), WHERE, 'vector')
  value = np.zeros(shape, dtype)
  read = normal.flatten({'a': value})['a']
  if read.dtype == np.uint8:
    value[:] = 1
    assert not read.any()
  assert not np.shares_memory(read, value)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(
  'space, value, expected',
  [
    (gs.Discrete(3, start=5), 7, 2),
    (gs.Discrete(3), np.array([2.0]), 2),
    (gs.Discrete(5, start=-2), np.uint64(1), 3),
    (gs.MultiDiscrete([2, 3], start=[-1, 0]), np.array([0, 1], 'u8'), [1, 1]),
    (gs.Box(0, 0, (4, 4, 3)), np.zeros((4, 4, 3)), np.zeros((4, 4, 3))),
    (gs.MultiDiscrete([2, 3], start=[1, 1]), [2, 3], [1, 2]),
    (gs.Box(0, 9, (2,), np.int64), [0.0, 9.0], [0, 9]),
    (gs.Box(-1, 1, (2,)), [5, 0], [5, 0]),
    (gs.Box(0, 1, (4, 4, 1)), np.full((4, 4, 1), 0.2), np.full((4, 4, 1), 51)),
    (gs.Box(0, 1, (2, 2, 2), bool), RAMP > 0, RAMP),
    (gs.Box(0, 1, (2, 2, 2), bool), RAMP // 255, RAMP),
    (gs.Box(-1, 1, (4, 4, 1)), np.ones((4, 4, 1)), np.full((4, 4, 1), 255)),
  ],
)
def test_values_in_their_space_come_as_they_are(space, value, expected):
  normal = spaces.normalize(gs.Dict({'a': space}), WHERE, 'vector')
  np.testing.assert_array_equal(normal.flatten({'a': value})['a'], expected)


@pytest.mark.parametrize(
  'shape, read_as, note',
  [
    ((64, 64, 12), (64, 64, 12), False),
    ((16, 16, 2), (16, 16, 2), False),
    ((7, 7, 20), (7, 7, 20), False),
    ((3, 64, 64), (64, 64, 3), True),
    ((4, 84, 80), (84, 80, 4), True),
    ((4, 64, 60, 3), (64, 60, 12), True),
    ((4, 3, 64, 60), (64, 60, 12), True),
    ((5, 64, 60, 1), (64, 60, 5), True),
  ],
)
def test_stacks_and_channels_in_front_become_channels(shape, read_as, note):
  space = gs.Box(0, 255, shape, np.uint8)
  normal = spaces.normalize(space, WHERE, 'vector')
  assert normal.spaces['image'].shape == read_as
  assert bool(normal.notes) == note
  value = space.sample()
  image = normal.flatten(value)['image']
  assert image.dtype == np.uint8 and image.shape == read_as
  # The channels of one pixel are its frames' and colours, in order.
  flat = lambda pixel: np.ravel(pixel).tolist()
  axis = shape.index(read_as[0])
  pixel = np.moveaxis(value, (axis, axis + 1), (0, 1))[2, 5]
  assert flat(image[2, 5]) == flat(pixel)
  np.testing.assert_array_equal(normal.unflatten({'image': image}), value)


def test_numbers_for_the_loggers_are_split():
  flat = {
    'x': gs.Box(-1, 1, (2,), np.float32),
    'log/one': gs.Box(-1, 1, (1,), np.float32),
    'log/two': gs.Box(-1, 1, (2, 1), np.float32),
    'log/kind': gs.Discrete(3),
  }
  logged = spaces.Logged(flat, WHERE)
  names = ['x', 'log/one', 'log/two/0', 'log/two/1', 'log/kind']
  assert list(logged.spaces) == names
  values = {
    'x': np.ones(2),
    'log/one': np.array([3]),
    'log/two': np.array([[4], [5]]),
    'log/kind': np.int32(2),
  }
  split = logged.split(values)
  assert [split[name] for name in names[1:]] == [3, 4, 5, 2]
  assert all(np.shape(split[name]) == () for name in names[1:])
  with pytest.raises(UserError, match='sum it up in a wrapper'):
    spaces.Logged({'log/map': gs.Box(0, 1, (9, 9))}, WHERE)


@pytest.mark.parametrize('key', ['', 'a\nb', 'a\0'])
def test_keys_that_cannot_be_printed(key):
  with pytest.raises(UserError, match='cannot be printed'):
    spaces.check_keys([key], ['action'], WHERE)
