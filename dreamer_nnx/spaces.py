"""The kinds of space that the toolkit reads, and conversions to them.

A *flat* space is a dict of string keys to spaces of the normalised kinds:

  vector    Box float32 of rank 0 to 2
  image     Box uint8 of rank 3, (height, width, channels)
  discrete  Discrete starting at 0, or MultiDiscrete of rank 1; int32 data

`normalize` brings any gymnasium space of Box, Discrete, MultiDiscrete,
MultiBinary, Dict and Tuple into this form and converts values both ways.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from dreamer_nnx import spacetypes
from dreamer_nnx.errors import UserError
from dreamer_nnx.leaves import Leaf, flattener
from dreamer_nnx.native import converter
from dreamer_nnx.spacetypes import Space, kind

FlatSpaces = dict[str, Space]

T = TypeVar('T')

# Prefixes of observations that are not encoded: for the loggers alone; for
# losses and behaviours; for the actions that are allowed.
LOG, LABEL, MASK = 'log/', 'label/', 'mask/'
RESERVED = ('reward', 'is_first', 'is_last', 'is_terminal')
# Numbers of one key that are logged, each by itself.
MAX_LOGGED = 64


def is_image(space: Space) -> bool:
  """Tells whether the space is a Box of uint8 images (H, W, C)."""
  return (
    kind(space) == 'Box' and space.dtype == np.uint8 and len(space.shape) == 3
  )


def is_discrete(space: Space) -> bool:
  """Tells whether a space holds class indices: Discrete or MultiDiscrete."""
  return kind(space) in ('Discrete', 'MultiDiscrete')


def classes(space: Space) -> tuple[int, ...]:
  """The number of classes of each dimension; one entry for Discrete.

  Raises:
    TypeError: If the space is not discrete.
  """
  if kind(space) == 'Discrete':
    return (int(space.n),)
  if kind(space) == 'MultiDiscrete':
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


def stored(values: Mapping[str, T]) -> dict[str, T]:
  """Selects the observations that replay keeps: all but `log/*`, in order."""
  kept = (k for k in sorted(values) if not k.startswith(LOG))
  return {key: values[key] for key in kept}


def encoded(values: Mapping[str, T]) -> dict[str, T]:
  """Selects the observations that are encoded and decoded, in order."""
  kept = (k for k in sorted(values) if not k.startswith((LOG, LABEL, MASK)))
  return {key: values[key] for key in kept}


def labels(values: Mapping[str, T]) -> dict[str, T]:
  """Selects the observations `label/*`, in order."""
  return {k: values[k] for k in sorted(values) if k.startswith(LABEL)}


def masks(values: Mapping[str, Any]) -> dict[str, Any]:
  """Selects the observations `mask/*`, by action: bool, which are allowed."""
  kept = (k for k in sorted(values) if k.startswith(MASK))
  return {key.removeprefix(MASK): values[key] > 0.5 for key in kept}


def masked(obs_space: Mapping[str, Space]) -> tuple[str, ...]:
  """Names the actions that the environment gives masks for."""
  kept = (k for k in sorted(obs_space) if k.startswith(MASK))
  return tuple(key.removeprefix(MASK) for key in kept)


@dataclasses.dataclass(frozen=True)
class Normalized:
  """A nested space as a flat one; `leaves` in the order of the nesting."""

  native: Space
  leaves: tuple[Leaf, ...]

  @property
  def spaces(self) -> FlatSpaces:
    """The flat space."""
    return {leaf.key: leaf.space for leaf in self.leaves}

  @property
  def notes(self) -> tuple[str, ...]:
    """Notes for the user on the way the space is read."""
    return tuple(leaf.note for leaf in self.leaves if leaf.note)

  @functools.cached_property
  def flatten(self) -> Callable[[Any], dict[str, np.ndarray]]:
    """A function that converts a native value to flat arrays.

    It raises ValueError if an entry is missing or does not fit its space.
    """
    return flattener(self.leaves)

  @functools.cached_property
  def _single(self) -> Leaf | None:
    """The only leaf, of a space that is not nested."""
    return None if self.leaves[0].path else self.leaves[0]

  def unflatten(self, arrays: Mapping[str, np.ndarray]) -> Any:
    """Converts flat arrays to the native value."""
    values = [leaf.decode(arrays[leaf.key]) for leaf in self.leaves]
    return self._nested(values)

  def rows(self, arrays: Mapping[str, np.ndarray]) -> list[Any]:
    """Converts flat arrays (W, ...) to W native values."""
    columns = [leaf.rows(arrays[leaf.key]) for leaf in self.leaves]
    if self._single:
      return columns[0]
    return [self._nested(values) for values in zip(*columns, strict=True)]

  def _nested(self, values: Sequence[Any]) -> Any:
    if self._single:
      return values[0]
    by_path = {x.path: v for x, v in zip(self.leaves, values, strict=True)}
    return _nest(self.native, (), by_path)


def normalize(space: Space, where: str, default_key: str) -> Normalized:
  """Flattens a space of an environment into normalised kinds.

  Nested Dict keys are joined with '/'; entries of a Tuple are numbered
  ('key/0'). A space with no key of its own is called `default_key`, or
  'image' if it is one. Bool and integer boxes become float vectors, small
  ranks are kept, unbounded boxes stay unbounded.

  Args:
    where: Beginning of error messages, like "config.env.gymnasium.id = 'X'".

  Raises:
    UserError: For a kind or shape of space that cannot be read, and for keys
      that collide.
  """
  leaves = []
  for path, native in _walk(space, ()):
    key = '/'.join(str(part) for part in path)
    if not path or kind(space) == 'Tuple':
      key = f'{default_key}/{key}' if path else default_key
    encoded, encode, decode, note = converter(native, f'{where}: {key!r}')
    key = 'image' if not path and is_image(encoded) else key
    if key in [leaf.key for leaf in leaves]:
      raise UserError(
        f'two entries of the space are named {key!r} once nested keys are '
        'joined by a slash. Rename one in a wrapper.',
        where,
      )
    note = note and f'{where}: {key!r}: {note}'
    leaves.append(Leaf(key, path, native, encoded, encode, decode, note))
  if not leaves:
    raise UserError(f'{space} has no entries.', where)
  return Normalized(space, tuple(leaves))


def check_keys(
  obs_keys: Iterable[str], action_keys: Iterable[str], where: str
) -> None:
  """Refuses keys that would collide in a step of the replay.

  Raises:
    UserError: An observation or an action has a name that the toolkit
      reserves or that cannot be printed, or both have the same name.
  """
  obs_keys, action_keys = list(obs_keys), list(action_keys)
  for what, keys in (('observation', obs_keys), ('action', action_keys)):
    prefixes = ('latent/', 'replay/', 'acting/')
    prefixes += (LOG, LABEL, MASK) if what == 'action' else ()
    for key in keys:
      if key in RESERVED or key.startswith(prefixes):
        raise UserError(
          f'the {what} key {key!r} is reserved ({", ".join(RESERVED)}, '
          f'{", ".join(p + "*" for p in prefixes)}). Rename it in a wrapper.',
          where,
        )
      if not key or not key.isprintable():
        raise UserError(
          f'the {what} key {key!r} cannot be printed. Rename it in a wrapper.',
          where,
        )
  for key in obs_keys:
    if key in action_keys:
      raise UserError(
        f'{key!r} is both an observation and an action. Rename one of them in '
        'a wrapper.',
        where,
      )
  if all(key.startswith((LOG, LABEL, MASK)) for key in obs_keys):
    raise UserError(
      'no observation is left to encode; keys log/* are for the loggers alone, '
      'and label/* and mask/* for losses and behaviours.',
      where,
    )


@dataclasses.dataclass(frozen=True)
class Logged:
  """Numbers for the loggers: each key `log/*` as scalars.

  A key of one number keeps its name, those of more are numbered: `log/x/0`.

  Args:
    flat: Spaces by key.

  Raises:
    UserError: A key has more than 64 numbers.
  """

  flat: FlatSpaces
  where: str

  def __post_init__(self):
    for key, space in self.flat.items():
      size = int(np.prod(space.shape))
      if key.startswith('log/') and size > MAX_LOGGED:
        raise UserError(
          f'the observation {key!r} has the shape {space.shape}. Keys log/* '
          f'are logged number by number, at most {MAX_LOGGED} of them: sum it '
          'up in a wrapper.',
          self.where,
        )

  @functools.cached_property
  def alike(self) -> bool:
    """Tells whether all values are logged as they are."""
    logged = [x for k, x in self.flat.items() if k.startswith(LOG)]
    return all(x.shape == () and x.dtype == np.float32 for x in logged)

  @property
  def spaces(self) -> FlatSpaces:
    """The spaces, with a scalar one for each number that is logged."""
    result = {}
    for key, space in self.flat.items():
      if key.startswith('log/'):
        names = _numbered(key, int(np.prod(space.shape)))
        scalar = spacetypes.scalar()
        result |= dict.fromkeys(names, scalar)
      else:
        result[key] = space
    return result

  def split(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of `flat` as arrays of `spaces`."""
    result = {}
    for key, value in values.items():
      if key.startswith('log/') and np.size(value) == 1:
        result[key] = np.asarray(value, np.float32).reshape(())
      elif key.startswith('log/'):
        numbers = np.asarray(value, np.float32).reshape(-1)
        result |= dict(zip(_numbered(key, numbers.size), numbers, strict=True))
      else:
        result[key] = value
    return result


def _numbered(key: str, count: int) -> list[str]:
  return [key] if count == 1 else [f'{key}/{i}' for i in range(count)]


def _walk(space, path):
  if kind(space) == 'Dict':
    for key, entry in space.spaces.items():
      yield from _walk(entry, (*path, key))
  elif kind(space) == 'Tuple':
    for index, entry in enumerate(space.spaces):
      yield from _walk(entry, (*path, index))
  else:
    yield path, space


def _nest(space, path, values):
  if kind(space) == 'Dict':
    return {k: _nest(v, (*path, k), values) for k, v in space.spaces.items()}
  if kind(space) == 'Tuple':
    entries = enumerate(space.spaces)
    return tuple(_nest(v, (*path, k), values) for k, v in entries)
  return values[path]
