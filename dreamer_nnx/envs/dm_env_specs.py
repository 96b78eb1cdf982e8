"""Specs of dm_env as gymnasium's spaces, and conversions of their values.

What a spec is, is read from its attributes, so dm_env need not be installed.
"""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from dreamer_nnx.errors import UserError
from dreamer_nnx.spaces import RESERVED

# Integers of an action with at most so many values each are classes.
MAX_CLASSES = 1024
MAX_PIXEL = 255


class Read(NamedTuple):
  """A spec that was read.

  Args:
    space: None if there are no numbers in it.
    convert: Makes the value of the space of one of the spec, for observations;
      and the other way round for actions.
  """

  space: gymnasium.Space | None
  convert: Callable[[Any], Any]


def plain_name(key: str) -> str:
  """Names an observation as its key; the toolkit's own names become 'obs_*'."""
  return f'obs_{key}' if key in RESERVED else key


def observed(spec: Any, place: str, rename: Callable[[str], str]) -> Read:
  """Reads the spec of an observation; arrays without numbers are left out.

  Floats of rank 3 or more that have no bounds, as those of an image, become a
  vector.

  Args:
    place: Beginning of error messages.
    rename: Makes the name of an entry of its key.

  Raises:
    UserError: Text, bounds that are none, whole numbers of rank 3 or more that
      are no pixels, or two entries of one name.
  """
  if isinstance(spec, Mapping):
    parts = {k: observed(x, f'{place} {k!r}', rename) for k, x in spec.items()}
    kept = {k: x for k, x in parts.items() if x.space is not None}
    names = {key: rename(str(key)) for key in kept}
    if len({*names.values()}) < len(names):
      raise UserError(f'two of {sorted(names)} would have one name.', place)
    entries = {names[key]: part.space for key, part in kept.items()}
    taken = [(names[key], key, part.convert) for key, part in kept.items()]
    convert = functools.partial(_take_entries, taken)
    if kept and all(name == key and f is _same for name, key, f in taken):
      look = operator.itemgetter(*kept)
      convert = functools.partial(_as_they_are, convert, len(kept), look)
    return Read(spaces.Dict(entries) if entries else None, convert)
  if isinstance(spec, list | tuple):
    parts = [observed(x, f'{place} {i}', rename) for i, x in enumerate(spec)]
    kept = [(i, x) for i, x in enumerate(parts) if x.space is not None]
    entries = [part.space for _, part in kept]
    taken = [(i, part.convert) for i, part in kept]
    convert = functools.partial(_take_items, taken)
    return Read(spaces.Tuple(entries) if entries else None, convert)
  space = _space(spec, place)
  _check_pixels(space, place)
  if _is_deep(space):
    low, high = space.low.reshape(-1), space.high.reshape(-1)
    flat = spaces.Box(low, high, low.shape, space.dtype)
    return Read(flat, lambda value: np.reshape(value, low.shape))
  return Read(space, _same)


def acted(spec: Any, place: str) -> Read:
  """Reads the spec of an action; integers with bounds are classes.

  Arrays without numbers are in no space, but in the actions that are made.

  Raises:
    UserError: Text, or bounds that are none.
  """
  if isinstance(spec, Mapping):
    parts = {k: acted(x, f'{place} {k!r}') for k, x in spec.items()}
    kept = {str(k): x.space for k, x in parts.items() if x.space is not None}
    given = [(key, str(key), part.convert) for key, part in parts.items()]
    convert = functools.partial(_give_entries, given)
    return Read(spaces.Dict(kept) if kept else None, convert)
  if isinstance(spec, list | tuple):
    parts = [acted(x, f'{place} {i}') for i, x in enumerate(spec)]
    kept = [x.space for x in parts if x.space is not None]
    given = [(part.space is None, part.convert) for part in parts]
    make = getattr(type(spec), '_make', type(spec))
    convert = functools.partial(_give_items, make, given)
    return Read(spaces.Tuple(kept) if kept else None, convert)
  return _acted_array(spec, place)


def _acted_array(spec, place):
  space = _space(spec, place, acted=True)
  shape, dtype = tuple(spec.shape), np.dtype(spec.dtype)
  if space is None:
    return Read(None, lambda value: np.zeros(shape, dtype))
  if not shape and dtype.kind != 'f':
    return Read(space, lambda value: dtype.type(np.asarray(value).item()))

  def shaped(value):
    if type(value) is np.ndarray and value.dtype is dtype:
      return value if value.shape == shape else value.reshape(shape)
    return np.asarray(value, dtype).reshape(shape)

  if dtype.kind != 'f' or (_is_exact(space.low) and _is_exact(space.high)):
    return Read(space, shaped)
  # As float32 the bounds may be outside of themselves.
  low, high = space.low, space.high
  return Read(space, lambda value: np.clip(shaped(value), low, high))


def _same(value):
  return value


def _is_exact(bounds):
  """Tells whether numbers are the same in float32."""
  with np.errstate(over='ignore'):
    return np.array_equal(bounds.astype(np.float32), bounds)


def _is_deep(space):
  """Tells whether an array is neither a vector nor an image or stack."""
  floats = isinstance(space, spaces.Box) and space.dtype.kind == 'f'
  if not floats or len(space.shape) < 3:
    return False
  shades = np.isfinite([space.low, space.high]).all()
  return len(space.shape) > 4 or not shades


def _check_pixels(space, place):
  whole = isinstance(space, spaces.Box) and space.dtype.kind in 'iu'
  deep = whole and len(space.shape) > 2
  if deep and (space.low.min() < 0 or space.high.max() > MAX_PIXEL):
    raise UserError(
      f'it is {space.dtype} of the shape {space.shape}. Whole numbers of rank '
      f'3 and more are read as an image, of 0 to {MAX_PIXEL}: give its spec '
      'these bounds, or make it a vector, in a wrapper.',
      place,
    )


def _take_entries(taken, value):
  return {name: convert(value[key]) for name, key, convert in taken}


def _as_they_are(take, count, look, value):
  """Returns entries without a copy if there are no others."""
  look(value)
  return value if len(value) == count else take(value)


def _take_items(taken, value):
  return tuple(convert(value[index]) for index, convert in taken)


def _give_entries(given, value):
  value = value or {}
  return {key: convert(value.get(name)) for key, name, convert in given}


def _give_items(make, given, value):
  items = iter(value or ())
  return make(
    [convert(None if empty else next(items)) for empty, convert in given]
  )


def _space(spec: Any, place: str, acted: bool = False):
  """The space of one array; None if it is empty."""
  if not hasattr(spec, 'shape') or not hasattr(spec, 'dtype'):
    raise UserError(
      f'a {type(spec).__name__} is no spec of dm_env: an Array, or a dict or '
      'tuple of them.',
      place,
    )
  shape, dtype = tuple(spec.shape), np.dtype(spec.dtype)
  if hasattr(spec, 'string_type') or dtype.kind not in 'fiub':
    raise UserError(
      f'it is a {type(spec).__name__} of {dtype}, but only real numbers are '
      'read. Leave it out, or encode it, in a wrapper.',
      place,
    )
  if 0 in shape:
    return None
  if hasattr(spec, 'num_values'):
    return spaces.Discrete(int(spec.num_values))
  if dtype.kind == 'b':
    return spaces.MultiBinary(shape) if shape else spaces.Discrete(2)
  low, high = _bounds(spec, shape, dtype, place)
  if acted and dtype.kind in 'iu' and len(shape) < 2:
    counts = high.astype(object) - low.astype(object) + 1
    if np.max(counts) <= MAX_CLASSES:
      return _classes(counts, low)
  return spaces.Box(low, high, shape, dtype)


def _classes(counts: np.ndarray, low: np.ndarray) -> gymnasium.Space:
  if not low.shape:
    return spaces.Discrete(int(counts), start=int(low))
  counts, start = np.asarray(counts, np.int64), low.astype(np.int64)
  return spaces.MultiDiscrete(counts, np.int64, start=start)


def _bounds(spec, shape, dtype, place):
  """The lowest and the highest numbers, of the shape and type of the spec."""
  if dtype.kind in 'iu':
    lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max
  else:
    lowest, highest = -np.inf, np.inf
  ends = getattr(spec, 'minimum', lowest), getattr(spec, 'maximum', highest)
  try:
    low, high = (np.broadcast_to(np.asarray(x), shape) for x in ends)
  except ValueError as error:
    raise UserError(
      f'its bounds do not fit its shape {shape}.', place
    ) from error
  whole = dtype.kind == 'f' or np.isfinite([low, high]).all()
  # A NaN bounds nothing.
  if not whole or not np.all(low <= high):
    raise UserError(f'its bounds are no bounds: {low} to {high}.', place)
  with np.errstate(over='ignore'):
    return low.astype(dtype), high.astype(dtype)
