"""The four kinds of space that the toolkit reads, and the way there.

A *flat* space is a dict of string keys to spaces of the normalised kinds:

  vector    Box float32 of rank 0 to 2
  image     Box uint8 of rank 3, (height, width, channels)
  discrete  Discrete starting at 0, or MultiDiscrete of rank 1; int32 data

`normalize` brings any gymnasium space of Box, Discrete, MultiDiscrete,
MultiBinary, Dict and Tuple into this form and converts values both ways.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from dreamer_nnx.errors import UserError

Space = spaces.Space
FlatSpaces = dict[str, Space]

RESERVED = ('reward', 'is_first', 'is_last', 'is_terminal')
MAX_CHANNELS = 4
# A uint8 matrix is a gray image from this side on; smaller ones (the 21 rows
# of a NetHack terminal, say) are grids of codes, which are read as vectors.
MIN_GRAY_SIDE = 32


def is_image(space: Space) -> bool:
  """Whether the space is a Box of uint8 images (H, W, C)."""
  return (
    isinstance(space, spaces.Box)
    and space.dtype == np.uint8
    and len(space.shape) == 3
  )


def is_discrete(space: Space) -> bool:
  """Whether the space holds class indices: Discrete or MultiDiscrete."""
  return isinstance(space, spaces.Discrete | spaces.MultiDiscrete)


def classes(space: Space) -> tuple[int, ...]:
  """The number of classes of each dimension; one entry for Discrete.

  Raises:
    TypeError: If the space is not discrete.
  """
  if isinstance(space, spaces.Discrete):
    return (int(space.n),)
  if isinstance(space, spaces.MultiDiscrete):
    return tuple(int(n) for n in np.ravel(space.nvec))
  raise TypeError(f'{space} has no classes: it is not discrete.')


def data_type(space: Space) -> np.dtype:
  """The type of the arrays at run time: int32 for every discrete space."""
  return np.dtype(np.int32) if is_discrete(space) else np.dtype(space.dtype)


def example(space: Space, batch: tuple[int, ...] = ()) -> np.ndarray:
  """Zeros of one normalised space with the given leading axes."""
  return np.zeros((*batch, *space.shape), data_type(space))


def zeros(flat: Mapping[str, Space], n: int) -> dict[str, np.ndarray]:
  """Zeros (n, ...) for each key."""
  return {key: example(space, (n,)) for key, space in flat.items()}


@dataclasses.dataclass(frozen=True)
class Leaf:
  """One entry of a flat space and its converters.

  `path` leads to the entry in the nested space. `encode` maps its native
  value to the normalised array, `decode` back.
  """

  key: str
  path: tuple[Any, ...]
  native: Space
  space: Space
  encode: Callable[[Any], np.ndarray]
  decode: Callable[[np.ndarray], Any]


@dataclasses.dataclass(frozen=True)
class Normalized:
  """A nested space as a flat one; `leaves` in the order of the nesting."""

  native: Space
  leaves: tuple[Leaf, ...]

  @property
  def spaces(self) -> FlatSpaces:
    """The flat space."""
    return {leaf.key: leaf.space for leaf in self.leaves}

  def flatten(self, value: Any) -> dict[str, np.ndarray]:
    """A native value as flat arrays.

    Raises:
      ValueError: If an entry is missing or has another shape than its space.
    """
    return {leaf.key: _encode(leaf, value) for leaf in self.leaves}

  def unflatten(self, arrays: Mapping[str, np.ndarray]) -> Any:
    """Flat arrays as the native value."""
    values = {leaf.path: leaf.decode(arrays[leaf.key]) for leaf in self.leaves}
    return _nest(self.native, (), values)


def normalize(space: Space, where: str, default_key: str) -> Normalized:
  """Flattens a space of an environment into normalised kinds.

  Nested Dict keys are joined with '/'; entries of a Tuple are numbered
  ('key/0'). A space with no key of its own is called `default_key`, or
  'image' if it is one. Bool and integer boxes become float vectors, small
  ranks are kept, unbounded boxes stay unbounded.

  Args:
    where: What the errors begin with, as in "config.env.gymnasium.id = 'X'".

  Raises:
    TypeError: For a kind of space that cannot be read.
    ValueError: For shapes that do not fit, and for keys that collide.
  """
  leaves = []
  for path, native in _walk(space, ()):
    key = '/'.join(str(part) for part in path)
    if not path or isinstance(space, spaces.Tuple):
      key = f'{default_key}/{key}' if path else default_key
    encoded, encode, decode = _convert(native, f'{where}: {key!r}')
    key = 'image' if not path and is_image(encoded) else key
    if key in [leaf.key for leaf in leaves]:
      raise UserError(
        f'{where}: two entries of the space are named {key!r} once nested '
        'keys are joined by a slash. Rename one in a wrapper.'
      )
    leaves.append(Leaf(key, path, native, encoded, encode, decode))
  if not leaves:
    raise UserError(f'{where}: {space} has no entries.')
  return Normalized(space, tuple(leaves))


def check_keys(
  obs_keys: Iterable[str], action_keys: Iterable[str], where: str
) -> None:
  """Refuses keys that would collide in a step of the replay.

  Raises:
    ValueError: If an observation or an action has a name that the toolkit
      reserves, or both have the same name.
  """
  obs_keys, action_keys = list(obs_keys), list(action_keys)
  for kind, keys in (('observation', obs_keys), ('action', action_keys)):
    prefixes = ('latent/',) if kind == 'observation' else ('latent/', 'log/')
    for key in keys:
      if key in RESERVED or key.startswith(prefixes):
        raise UserError(
          f'{where}: the {kind} key {key!r} is reserved '
          f'({", ".join(RESERVED)}, {", ".join(p + "*" for p in prefixes)}). '
          'Rename it in a wrapper.'
        )
  for key in obs_keys:
    if key in action_keys:
      raise UserError(
        f'{where}: {key!r} is both an observation and an action. '
        'Rename one of them in a wrapper.'
      )
  if all(key.startswith('log/') for key in obs_keys):
    raise UserError(
      f'{where}: no observation is left for the agent; keys log/* are for '
      'the loggers alone.'
    )


def _walk(space, path):
  if isinstance(space, spaces.Dict):
    for key, entry in space.spaces.items():
      yield from _walk(entry, (*path, key))
  elif isinstance(space, spaces.Tuple):
    for index, entry in enumerate(space.spaces):
      yield from _walk(entry, (*path, index))
  else:
    yield path, space


def _nest(space, path, values):
  if isinstance(space, spaces.Dict):
    return {k: _nest(v, (*path, k), values) for k, v in space.spaces.items()}
  if isinstance(space, spaces.Tuple):
    entries = enumerate(space.spaces)
    return tuple(_nest(v, (*path, k), values) for k, v in entries)
  return values[path]


def _encode(leaf, value):
  for part in leaf.path:
    try:
      value = value[part]
    except (KeyError, IndexError, TypeError) as error:
      raise UserError(
        f'{leaf.key!r}: the value has no entry {part!r}, its space has one.'
      ) from error
  # A scalar may come as (1,) and the other way round; nothing else may.
  value = np.asarray(value)
  shape = leaf.native.shape
  if value.shape != shape and not value.size == np.prod(shape) == 1:
    raise UserError(
      f'{leaf.key!r}: the value has the shape {value.shape}, its space {shape}.'
    )
  return leaf.encode(value)


def _convert(space, where):
  """The normalised space of one entry, with its encoder and decoder."""
  if isinstance(space, spaces.Discrete):
    return _discrete(space)
  if isinstance(space, spaces.MultiDiscrete):
    return _multi_discrete(space, space.nvec, space.start)
  if isinstance(space, spaces.MultiBinary):
    return _multi_discrete(space, np.full(space.shape, 2), 0)
  if isinstance(space, spaces.Box):
    return _box(space, where)
  raise UserError(
    f'{where} is a {type(space).__name__} space, which cannot be read. '
    'Box, Discrete, MultiDiscrete, MultiBinary, Dict and Tuple can; convert '
    'it in a wrapper.'
  )


def _discrete(space):
  start = int(space.start)
  encode = lambda value: (value.reshape(()) - start).astype(np.int32)
  decode = lambda array: np.int64(array) + start
  return spaces.Discrete(int(space.n)), encode, decode


def _multi_discrete(space, nvec, start):
  start = np.broadcast_to(start, space.shape).astype(np.int64)
  dtype, shape = space.dtype, space.shape
  encode = lambda value: (
    (value.reshape(shape).astype(np.int64) - start).astype(np.int32).reshape(-1)
  )
  decode = lambda array: (
    np.asarray(array, np.int64).reshape(shape) + start
  ).astype(dtype)
  return spaces.MultiDiscrete(np.ravel(nvec)), encode, decode


def _box(space, where):
  shape, dtype = space.shape, space.dtype
  if 0 in shape:
    raise UserError(f'{where} has the shape {shape}: it is empty.')
  if np.issubdtype(dtype, np.complexfloating):
    raise UserError(f'{where} is complex. Split it into two real keys.')
  target, kind = _box_shape(space, where)
  low = _cast(space.low, kind).reshape(target)
  high = _cast(space.high, kind).reshape(target)
  encode = lambda value: value.astype(kind).reshape(target)
  decode = lambda array: _cast(array, dtype).reshape(shape)
  return spaces.Box(low, high, target, kind), encode, decode


def _box_shape(space, where):
  shape = space.shape
  gray = (
    space.dtype == np.uint8 and len(shape) == 2 and min(shape) >= MIN_GRAY_SIDE
  )
  if gray:
    return (*shape, 1), np.uint8
  if len(shape) < 3:
    return shape, np.float32
  if len(shape) > 3:
    raise UserError(
      f'{where} has the shape {shape}: rank {len(shape)}, at most 3 is '
      'supported. Reshape it in a wrapper.'
    )
  if space.dtype != np.uint8:
    raise UserError(
      f'{where} is {space.dtype} of the shape {shape}; rank 3 is for images, '
      'which are uint8. Convert it to uint8 or flatten it in a wrapper.'
    )
  if shape[-1] > MAX_CHANNELS:
    raise UserError(
      f'{where} has the shape {shape}; images are (height, width, channels) '
      f'of 1 to {MAX_CHANNELS} channels. Transpose it in a wrapper.'
    )
  return shape, np.uint8


def _cast(values, dtype):
  """To another type; integers are rounded and kept in the type's range."""
  values = np.asarray(values)
  if dtype == np.bool_:
    return values > 0.5
  if not np.issubdtype(dtype, np.integer):
    # Bounds such as 1.8e308 of a float64 box become infinite in float32.
    with np.errstate(over='ignore'):
      return values.astype(dtype)
  low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
  if not np.issubdtype(values.dtype, np.floating):
    return np.clip(values, low, high).astype(dtype)
  if np.iinfo(dtype).bits > 32:
    # As floats the limits of int64 round outwards, and would overflow.
    low, high = np.nextafter([float(low), float(high)], 0)
  return np.clip(np.rint(values.astype(np.float64)), low, high).astype(dtype)
