"""Native spaces of environments: their normalised forms and their values.

An environment is not to be believed: an array that its space does not hold is
refused before it is converted, for it would come out as another number.
"""

import contextvars
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from dreamer_nnx import spacetypes
from dreamer_nnx.errors import UserError
from dreamer_nnx.spacetypes import Space, kind

# A uint8 matrix is a gray image from this side on; smaller ones (the 21 rows
# of a NetHack terminal, say) are grids of codes, which are read as vectors.
MIN_GRAY_SIDE = 32
WHITE = 255
# Types of one number that are read without an array, where a space holds one.
WHOLE = frozenset((int, np.int64, np.int32))
NUMBERS = WHOLE | {float, np.float64, np.float32}
FLOAT32 = np.dtype(np.float32)
MAX_CLASSES = 2**31 - 1
# The least whole number that int64 does not have.
INT64 = 2.0**63
LARGEST = float(np.finfo(np.float32).max)
T = TypeVar('T')
# Where no overflow is told. To enter `np.errstate` takes ten times as long.
_SILENT = contextvars.Context()
_SILENT.run(np.seterr, over='ignore')


class Converter(NamedTuple):
  """The normalised form of a native space, and the conversions.

  Args:
    space: The normalised one; see `dreamer_nnx.spaces`.
    encode: Maps a native array, of the native shape, to the normalised one;
      raises ValueError for one that is not in the native space. For the shape
      () it takes one of NUMBERS, too.
    decode: Maps back; leading axes stay as they are.
    note: A note for the user on the conversion, or empty.
  """

  space: Space
  encode: Callable[[np.ndarray], np.ndarray]
  decode: Callable[[np.ndarray], Any]
  note: str = ''


def converter(space: Space, where: str) -> Converter:
  """Finds how a space of one array is read.

  Args:
    where: Beginning of error messages: the place and the key.

  Raises:
    UserError: It is of a kind or shape that cannot be read.
  """
  if kind(space) in ('Discrete', 'MultiDiscrete'):
    check_classes(space, where)
  if kind(space) == 'Discrete':
    return _discrete(space)
  if kind(space) == 'MultiDiscrete':
    return _multi_discrete(space, space.nvec, space.start)
  if kind(space) == 'MultiBinary':
    return _multi_discrete(space, np.full(space.shape, 2), 0)
  if kind(space) == 'Box':
    return _box(space, where)
  raise UserError(
    f'it is a {type(space).__name__} space, which cannot be read. Box, '
    'Discrete, MultiDiscrete, MultiBinary, Dict and Tuple can; convert it in '
    'a wrapper.',
    where,
  )


def check_classes(space: Space, where: str) -> None:
  """Refuses a Discrete or MultiDiscrete with more classes than int32 has."""
  discrete = kind(space) == 'Discrete'
  most = int(space.n if discrete else space.nvec.max())
  if most > MAX_CLASSES:
    raise UserError(
      f'it has {most} classes. At most {MAX_CLASSES} are read, as int32; make '
      'it a Box, or split it in a wrapper.',
      where,
    )


def _discrete(space: Space) -> Converter:
  start, count = int(space.start), int(space.n)
  dtype = np.dtype(space.dtype)

  def encode(value: np.ndarray | int) -> np.ndarray:
    if type(value) in WHOLE and start <= value < start + count:
      return np.int32(int(value) - start)
    value = _whole_numbers(np.reshape(value, ()), space)
    _check_bounds(value, start, start + count - 1, space)
    return np.int32(int(value) - start)

  def decode(array: np.ndarray) -> np.ndarray:
    value = np.int64(array) + start if start else np.int64(array)
    return value if dtype == value.dtype else value.astype(dtype)

  return Converter(spacetypes.discrete(count), encode, decode)


def _multi_discrete(
  space: Space, nvec: np.ndarray, start: np.ndarray | int
) -> Converter:
  start = np.broadcast_to(start, space.shape).astype(np.int64)
  last = start + np.asarray(nvec, np.int64) - 1
  dtype, shape = space.dtype, space.shape

  def encode(value: np.ndarray) -> np.ndarray:
    value = _whole_numbers(value.reshape(shape), space)
    _check_bounds(value, start, last, space)
    return (value.astype(np.int64) - start).astype(np.int32).reshape(-1)

  def decode(array: np.ndarray) -> np.ndarray:
    value = np.asarray(array, np.int64)
    return (value.reshape(*value.shape[:-1], *shape) + start).astype(dtype)

  return Converter(spacetypes.multi_discrete(np.ravel(nvec)), encode, decode)


def _box(space: Space, where: str) -> Converter:
  shape, dtype = space.shape, space.dtype
  if 0 in shape:
    raise UserError(f'its shape is {shape}, which is empty.', where)
  if np.issubdtype(dtype, np.complexfloating):
    raise UserError('it is complex. Split it into two real keys.', where)
  gray = dtype == np.uint8 and len(shape) == 2 and min(shape) >= MIN_GRAY_SIDE
  if gray or len(shape) > 2:
    return _image(space, where)
  low, high = (_cast(bound, np.float32) for bound in (space.low, space.high))
  floats = dtype.kind == 'f'

  def encode(value: np.ndarray | float) -> np.ndarray:
    if type(value) is np.ndarray:
      if floats and value.dtype is FLOAT32:
        return value.copy()
    elif floats and type(value) in NUMBERS and -LARGEST <= value <= LARGEST:
      return np.float32(value)
    value = np.asarray(value)
    if dtype.kind in 'iub':
      value = _whole_numbers(value, space)
      _check_bounds(value, space.low, space.high, space)
    elif value.dtype.kind not in 'fiub':
      raise _outside(value.flat[0], space)
    # A float64 larger than every float32 becomes infinite and is refused later.
    return narrowed(value)

  decode = lambda array: _cast(array, dtype)
  return Converter(spacetypes.box(low, high, shape), encode, decode)


def _image(space: Space, where: str) -> Converter:
  """An image as (height, width, channels) uint8.

  Frames of a stack become channels, and channels in front move to the end.
  Floats become 256 shades between the bounds of the space, and truth values
  black and white.
  """
  shape, dtype = space.shape, space.dtype
  order, note = _axes(shape, where)
  target = tuple(shape[axis] for axis in order)
  target = (*target[:2], int(np.prod(target[2:], dtype=int)))
  shades = dtype.kind == 'f'
  if shades:
    _check_shades(space, where)
    note = f'{note} Its floats are kept as 256 shades, uint8.'.strip()
  else:
    _check_pixels(space, where)
  flags = dtype == np.bool_
  low = float(space.low.min()) if shades else 0.0
  high = float(space.high.max()) if shades or flags else WHITE
  shade = (high - low) / WHITE
  pixels = _shades if shades else _flags if flags else _pixels
  full = dtype == np.uint8 and space.low.max() == 0
  full = full and space.high.min() == WHITE

  def encode(value: np.ndarray) -> np.ndarray:
    if not full or value.dtype != np.uint8:
      value = pixels(value, space)
    # (N, H, W, C) and the like to (H, W, N, C) to (H, W, N C). A copy, for
    # what draws the next image may do it in the same array.
    return np.array(value.transpose(order).reshape(target), np.uint8)

  def decode(array: np.ndarray) -> np.ndarray:
    lead = np.shape(array)[:-3]
    turned = np.reshape(array, (*lead, *(shape[axis] for axis in order)))
    back = (len(lead) + np.argsort(order)).tolist()
    value = turned.transpose(*range(len(lead)), *back)
    return _cast(low + shade * value, dtype)

  image = spacetypes.image(target)
  return Converter(image, encode, decode, note)


def _axes(shape: tuple[int, ...], where: str) -> tuple[tuple[int, ...], str]:
  """Finds the order of axes (height, width, channels...), and a note on it."""
  if len(shape) > 4:
    raise UserError(
      f'its shape is {shape}, of rank {len(shape)}. Arrays of at most rank 4 '
      'are read: stacks of images. Reshape it in a wrapper.',
      where,
    )
  if len(shape) == 2:
    return (0, 1), ''
  *stack, first, second, third = range(len(shape))
  channels_first = shape[first] < min(shape[second], shape[third])
  order = (first, second, *stack, third)
  if channels_first:
    order = (second, third, *stack, first)
  if order == (0, 1, 2):
    return order, ''
  turned = tuple(shape[axis] for axis in order)
  turned = (*turned[:2], int(np.prod(turned[2:])))
  return order, f'Its shape {shape} is read as the image {turned}.'


def _check_pixels(space: Space, where: str) -> None:
  if space.low.min() < 0 or space.high.max() > WHITE:
    raise UserError(
      f'it is {space.dtype} of the shape {space.shape}. Arrays of rank 3 and 4 '
      'are read as images, whose numbers are 0 to 255. Make it uint8, or '
      'flatten it to a vector: gymnasium.wrappers.FlattenObservation.',
      where,
    )


def _check_shades(space: Space, where: str) -> None:
  low, high = space.low, space.high
  even = low.min() == low.max() and high.min() == high.max()
  # The ends of a type are what is written where there are no bounds.
  limit = min(LARGEST, float(np.finfo(space.dtype).max))
  ends = np.float64([low.min(), high.max()])
  if not even or (np.abs(ends) >= limit).any():
    raise UserError(
      f'it is {space.dtype} of the shape {space.shape} without one lowest and '
      'one highest number. Arrays of rank 3 and 4 are read as images: give '
      'the Box finite bounds, such as Box(0, 1, shape), or make it uint8, or '
      'flatten it to a vector: gymnasium.wrappers.FlattenObservation.',
      where,
    )


def _pixels(value: np.ndarray, space: Space) -> np.ndarray:
  if value.dtype.kind == 'f':
    raise _outside(value.flat[0], space, 'floats in an image of integers')
  value = _whole_numbers(value, space)
  _check_bounds(value, space.low, space.high, space)
  return value


def _flags(value: np.ndarray, space: Space) -> np.ndarray:
  return _pixels(value, space) * WHITE


def _shades(value: np.ndarray, space: Space) -> np.ndarray:
  if value.dtype.kind not in 'fiub':
    raise _outside(value.flat[0], space)
  low, high = float(space.low.min()), float(space.high.max())
  value = value.astype(np.float64)
  slack = 1e-6 * (high - low)
  # A NaN is not in between, either.
  inside = (value >= low - slack) & (value <= high + slack)
  if not inside.all():
    raise _outside(value[~inside][0], space)
  # A space of one shade has no difference.
  share = (np.clip(value, low, high) - low) / (high - low or 1.0)
  return np.rint(share * WHITE).astype(np.uint8)


def _whole_numbers(value: np.ndarray, space: Space) -> np.ndarray:
  """The same numbers as int64 or uint64."""
  if value.dtype.kind == 'b':
    return value.astype(np.int64)
  if value.dtype.kind == 'f':
    wrong = ~(np.isfinite(value) & (value == np.rint(value)))
    if wrong.any():
      raise _outside(value[wrong].flat[0], space)
    large = abs(value) >= INT64
    if large.any():
      raise _outside(value[large].flat[0], space, 'a float beyond int64')
    return value.astype(np.int64)
  if value.dtype.kind not in 'iu':
    raise _outside(value.flat[0], space)
  return value if value.dtype == np.uint64 else value.astype(np.int64)


def _check_bounds(value: np.ndarray, low: Any, high: Any, space: Space) -> None:
  wrong = (value < low) | (value > high)
  if np.any(wrong):
    raise _outside(value[wrong].flat[0], space)


def _outside(number: Any, space: Space, why: str = '') -> ValueError:
  number = number.item() if hasattr(number, 'item') else number
  why = why and f' ({why})'
  return ValueError(f'{number!r} is not in its space {space}{why}.')


def silently(function: Callable[..., T], *arguments: Any) -> T:
  """Calls a function, in which numpy tells of no overflow."""
  return _SILENT.copy().run(function, *arguments)


def narrowed(values: np.ndarray, dtype: np.dtype = FLOAT32) -> np.ndarray:
  """Casts to floats; what is too large becomes infinite, without a warning."""
  return silently(values.astype, dtype)


def _cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
  """Casts to another type; rounds to integers and clips to the type's range."""
  values, dtype = np.asarray(values), np.dtype(dtype)
  if dtype == np.bool_:
    return values > 0.5
  if values.dtype == dtype:
    return values.copy()
  if dtype.kind not in 'iu':
    # Bounds such as 1.8e308 of a float64 box become infinite in float32.
    return narrowed(values, dtype)
  low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
  if values.dtype.kind != 'f':
    return np.clip(values, low, high).astype(dtype)
  if np.iinfo(dtype).bits > 32:
    # The limits of int64, as floats, round outwards and would overflow.
    low, high = np.nextafter([float(low), float(high)], 0)
  return np.clip(np.rint(values.astype(np.float64)), low, high).astype(dtype)
