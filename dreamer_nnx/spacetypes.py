"""Types of spaces: gymnasium's where it is loaded, else plain ones like them.

Whoever only acts, or dreams, needs no environment, and so no gymnasium. What
reads a space asks for its `kind`; what makes one calls `box`, `discrete` or
`from_json`. As JSON the spaces of a run are in its checkpoints.
"""

import functools
import math
import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, Protocol

import numpy as np

KINDS = ('Box', 'Discrete', 'MultiDiscrete', 'MultiBinary', 'Dict', 'Tuple')
PACKAGES = ('gymnasium', __name__.partition('.')[0])
# Numbers of an array, and levels of nesting, that a file may claim.
MAX_SIZE, MAX_DEPTH = 2**24, 8


class Space(Protocol):
  """The set of values of one observation or action, as in gymnasium."""

  shape: tuple[int, ...]
  dtype: np.dtype


class Plain:
  """A space with the attributes that gymnasium's has, without its methods."""

  def __init__(self, shape: Iterable[int] | None, dtype: Any):
    self.shape = None if shape is None else tuple(map(int, shape))
    self.dtype = None if dtype is None else np.dtype(dtype)

  def __repr__(self) -> str:
    return str(to_json(self))

  def __eq__(self, other: object) -> bool:
    return kind(other) == kind(self) and to_json(other) == to_json(self)

  __hash__ = None


class Box(Plain):
  """Arrays between two bounds, inclusive; see gymnasium.spaces.Box."""

  def __init__(
    self,
    low: Any,
    high: Any,
    shape: Iterable[int] | None = None,
    dtype: Any = np.float32,
  ):
    super().__init__(np.shape(low) if shape is None else shape, dtype)
    self.low = np.broadcast_to(np.asarray(low, self.dtype), self.shape)
    self.high = np.broadcast_to(np.asarray(high, self.dtype), self.shape)


class Discrete(Plain):
  """Whole numbers from `start`, n of them; see gymnasium.spaces.Discrete."""

  def __init__(self, n: int, start: int = 0, dtype: Any = np.int64):
    super().__init__((), dtype)
    self.n, self.start = np.int64(n), np.int64(start)


class MultiDiscrete(Plain):
  """Arrays of whole numbers; see gymnasium.spaces.MultiDiscrete."""

  def __init__(self, nvec: Any, dtype: Any = np.int64, start: Any = 0):
    super().__init__(np.shape(nvec), dtype)
    self.nvec = np.asarray(nvec, self.dtype)
    self.start = np.broadcast_to(np.asarray(start, self.dtype), self.shape)


class MultiBinary(Plain):
  """Arrays of 0 and 1; see gymnasium.spaces.MultiBinary."""

  def __init__(self, n: Any):
    super().__init__((n,) if np.ndim(n) == 0 else n, np.int8)


class Dict(Plain):
  """Spaces by key; see gymnasium.spaces.Dict."""

  def __init__(self, spaces: Mapping[str, Space]):
    super().__init__(None, None)
    self.spaces = dict(spaces)


class Tuple(Plain):
  """Spaces in order; see gymnasium.spaces.Tuple."""

  def __init__(self, spaces: Iterable[Space]):
    super().__init__(None, None)
    self.spaces = tuple(spaces)


def types() -> ModuleType:
  """The module whose types are in use: gymnasium's once it was imported."""
  loaded = sys.modules.get('gymnasium.spaces')
  return sys.modules[__name__] if loaded is None else loaded


def box(low: Any, high: Any, shape: Any = None, dtype: Any = np.float32) -> Any:
  """Makes a Box."""
  return types().Box(low, high, shape, dtype)


def scalar() -> Any:
  """Makes the Box of any one float32."""
  return box(-np.inf, np.inf, (), np.float32)


def discrete(n: int) -> Any:
  """Makes a Discrete from 0."""
  return types().Discrete(n)


def multi_discrete(nvec: Any) -> Any:
  """Makes a MultiDiscrete from 0."""
  return types().MultiDiscrete(nvec)


def image(shape: Iterable[int]) -> Any:
  """Makes the Box of uint8 images (H, W, C)."""
  return box(0, 255, tuple(shape), np.uint8)


def kind(space: Any) -> str:
  """Names the type: one of KINDS, also of a subclass, or any other name."""
  return _kind(type(space))


@functools.cache
def _kind(found: type) -> str:
  for base in found.__mro__:
    if base.__name__ in KINDS and base.__module__.split('.')[0] in PACKAGES:
      return base.__name__
  return found.__name__


def to_json(space: Any) -> dict[str, Any]:
  """Describes a space in full, as JSON.

  Raises:
    TypeError: It is of none of KINDS.
  """
  name = kind(space)
  if name == 'Dict':
    entries = [[str(k), to_json(x)] for k, x in space.spaces.items()]
    return {'kind': name, 'spaces': entries}
  if name == 'Tuple':
    return {'kind': name, 'spaces': [to_json(x) for x in space.spaces]}
  if name == 'MultiBinary':
    return {'kind': name, 'shape': list(space.shape)}
  if name not in KINDS:
    raise TypeError(f'{space}: a {name} is none of {", ".join(KINDS)}.')
  result = {'kind': name, 'dtype': str(space.dtype)}
  if name == 'Discrete':
    return result | {'n': int(space.n), 'start': int(space.start)}
  arrays = ('low', 'high') if name == 'Box' else ('nvec', 'start')
  numbers = {key: _numbers(getattr(space, key)) for key in arrays}
  return result | {'shape': list(space.shape)} | numbers


def _numbers(array: np.ndarray) -> Any:
  """One number if all are the same, else all of them; infinities as text."""
  array = np.asarray(array)
  if array.size and (array == array.flat[0]).all():
    array = array.flat[0]
  plain = lambda x: x if isinstance(x, int) or math.isfinite(x) else str(x)
  flat = np.ravel(array).tolist()
  return plain(flat[0]) if np.ndim(array) == 0 else list(map(plain, flat))


def from_json(described: Any, depth: int = 0) -> Any:
  """Makes the space that `to_json` described.

  Raises:
    ValueError: It did not.
  """
  try:
    return _made(described, depth)
  except (KeyError, TypeError, AttributeError, OverflowError) as error:
    raise ValueError(f'{described!r:.80} describes no space.') from error


def _made(described: Mapping[str, Any], depth: int) -> Any:
  name, use = described['kind'], types()
  if name in ('Dict', 'Tuple') and depth < MAX_DEPTH:
    entries = described['spaces']
    if name == 'Tuple':
      return use.Tuple([from_json(x, depth + 1) for x in entries])
    return use.Dict({str(k): from_json(x, depth + 1) for k, x in entries})
  if name == 'Discrete':
    n, start = int(described['n']), int(described['start'])
    dtype = np.dtype(described.get('dtype', np.int64))
    # Older versions of gymnasium know no other type, and no such argument.
    other = {} if dtype == np.int64 else {'dtype': dtype}
    return use.Discrete(n, start=start, **other)
  shape = tuple(map(int, described['shape']))
  if min(shape, default=1) < 0 or math.prod(shape) > MAX_SIZE:
    raise ValueError(f'{described!r:.80} has more than {MAX_SIZE} numbers.')
  if name == 'MultiBinary':
    return use.MultiBinary(shape[0] if len(shape) == 1 else shape)
  dtype = np.dtype(described['dtype'])
  filled = lambda key: _filled(described[key], shape, dtype)
  if name == 'MultiDiscrete':
    return use.MultiDiscrete(filled('nvec'), dtype, start=filled('start'))
  if name == 'Box':
    return use.Box(filled('low'), filled('high'), shape, dtype)
  raise KeyError(name)


def _filled(numbers: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
  if isinstance(numbers, list):
    floats = [float(x) if isinstance(x, str) else x for x in numbers]
    return np.array(floats, dtype).reshape(shape)
  number = float(numbers) if isinstance(numbers, str) else numbers
  # Takes no memory, whatever shape is claimed.
  return np.broadcast_to(np.asarray(number, dtype), shape)
