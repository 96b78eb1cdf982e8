"""The leaves of a nested space: their places, and how their values are read."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dreamer_nnx.native import FLOAT32, NUMBERS, narrowed, silently
from dreamer_nnx.spacetypes import Space, kind

FLOAT64 = np.dtype(np.float64)
# What a value raises that has no such entry; ValueError is of numpy's records.
MISSING = (KeyError, IndexError, TypeError, ValueError)


@dataclasses.dataclass(frozen=True)
class Leaf:
  """One entry of a flat space and its converters.

  `path` leads to the entry in the nested space. `encode` maps its native
  value to the normalised array, `decode` back, with any leading axes.
  """

  key: str
  path: tuple[Any, ...]
  native: Space
  space: Space
  encode: Callable[[Any], np.ndarray]
  decode: Callable[[np.ndarray], Any]
  note: str = ''

  @functools.cached_property
  def shape(self) -> tuple[int, ...]:
    """The shape of native values."""
    return tuple(self.native.shape)

  @functools.cached_property
  def direct(self) -> np.dtype | None:
    """The type of native arrays that are read by a cast alone, or None."""
    native = self.native.dtype
    floats = kind(self.native) == 'Box' and native in (FLOAT32, FLOAT64)
    if not floats or self.space.dtype != FLOAT32:
      return None
    # The very objects, for they are compared by identity.
    return FLOAT32 if native == FLOAT32 else FLOAT64

  def rows(self, array: np.ndarray) -> list[Any]:
    """Native values of (W, ...); those of one float are arrays, too."""
    values = self.decode(array)
    if self.shape or kind(self.native) == 'Discrete':
      return list(values)
    return [values[index, ...] for index in range(len(values))]


def flattener(
  leaves: Sequence[Leaf],
) -> Callable[[Any], dict[str, np.ndarray]]:
  """Makes the function that reads all leaves of a native value.

  It raises ValueError if an entry is missing or does not fit its space.
  """
  readers = [_reader(leaf) for leaf in leaves]
  if not leaves[0].path:
    return _alone(leaves[0], readers[0])
  parts = [
    (leaf.key, leaf.path[0], _shallow(leaf), leaf.shape, read)
    for leaf, read in zip(leaves, readers, strict=True)
  ]

  def flatten(value):
    arrays = {}
    for key, part, dtype, shape, read in parts:
      try:
        entry = value[part]
      except MISSING:
        entry = None
      # What is most frequent takes no call.
      same = type(entry) is np.ndarray and entry.dtype is dtype
      if same and entry.shape == shape:
        arrays[key] = entry.astype(FLOAT32)
      else:
        arrays[key] = read(value)
    return arrays

  if FLOAT64 in [leaf.direct for leaf in leaves]:
    return functools.partial(silently, flatten)
  return flatten


def _shallow(leaf):
  """The type of arrays to cast that are found by one step, or None."""
  return leaf.direct if len(leaf.path) == 1 else None


def _alone(leaf, read):
  """Reads the only leaf of a space that is not nested."""
  key, dtype, shape = leaf.key, leaf.direct, leaf.shape
  cast = np.ndarray.copy if dtype is FLOAT32 else narrowed

  def flatten(value):
    same = type(value) is np.ndarray and value.dtype is dtype
    if same and value.shape == shape:
      return {key: cast(value)}
    return {key: read(value)}

  return flatten


def _reader(leaf):
  """Reads a leaf of a native value; all it needs is looked up once."""
  key, path, shape, encode = leaf.key, leaf.path, leaf.shape, leaf.encode

  def read(value):
    for part in path:
      try:
        value = value[part]
      except MISSING as error:
        raise ValueError(
          f'{key!r}: the value has no entry {part!r}, its space has one.'
        ) from error
    try:
      if type(value) is not np.ndarray or value.shape != shape:
        value = _shaped(value, shape)
      return encode(value)
    except ValueError as error:
      raise ValueError(f'{key!r}: {error}') from error

  return read


def _shaped(value, shape):
  if not shape and type(value) in NUMBERS:
    return value
  value = np.asarray(value)
  # A scalar may come as (1,) and the other way round; nothing else may.
  if value.shape != shape and not value.size == np.prod(shape) == 1:
    raise ValueError(
      f'the value has the shape {value.shape}, its space {shape}.'
    )
  return value.reshape(shape)
