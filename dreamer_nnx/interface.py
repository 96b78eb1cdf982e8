"""Spaces and values between an environment and its agent.

An environment speaks in nested spaces and units of its own. The agent sees flat
dicts of arrays of the normalised kinds (see `spaces`), with continuous actions
in [-1, 1]. A checkpoint holds the interface as JSON, so that a policy needs no
environment.
"""

import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dreamer_nnx import spaces, spacetypes
from dreamer_nnx.errors import UserError
from dreamer_nnx.leaves import MISSING
from dreamer_nnx.native import LARGEST
from dreamer_nnx.spacetypes import Space

IMAGE, LOG = 'image', spaces.LOG
# Leading axes of values: none, rows, or rows of sequences.
MAX_LEAD = 2
# Pixels of a side of an image that a file may claim.
MAX_SIDE = 2**12
Lead = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Bounds:
  """Limits of a continuous action, any of them infinite.

    native = low + (clip(action, -1, 1) + 1) / 2 (high - low)

  Elements without finite bounds on both sides are only clipped to the one
  that they have. The ends of float32 are no bounds.
  """

  low: np.ndarray
  high: np.ndarray
  finite: np.ndarray

  @classmethod
  def of(cls, space: Space) -> 'Bounds':
    low, high = np.float64(space.low), np.float64(space.high)
    finite = np.maximum(np.abs(low), np.abs(high)) < LARGEST
    return cls(low, high, finite)

  @property
  def scaled(self) -> Space:
    """The space that the policy acts in."""
    return spacetypes.box(-1, 1, self.low.shape)

  def native(self, action: np.ndarray) -> np.ndarray:
    """Numbers of the environment for (..., A) of the policy."""
    value = np.asarray(action)
    # What `np.clip` does, in half the time.
    if self._same and value.dtype.kind == 'f':
      return np.minimum(np.maximum(value, -1), 1)
    value = self._scaled(np.float64(value))
    return np.minimum(np.maximum(value, self.low), self.high)

  def presented(self, native: np.ndarray) -> np.ndarray:
    """Numbers of the policy for (..., A) of the environment; not clipped.

    What has a single value is 0, in the middle.
    """
    start, half = self._scale
    ranged = half > 0
    value = np.asarray(native, np.float64)
    inside = (value - start) / np.where(ranged, half, 1) - 1
    single = np.where(self.finite, 0, value)
    return np.where(ranged, inside, single).astype(np.float32)

  @functools.cached_property
  def _same(self) -> bool:
    return bool(((self.low == -1) & (self.high == 1)).all())

  @functools.cached_property
  def _whole(self) -> bool:
    return bool(self.finite.all())

  @functools.cached_property
  def _scale(self) -> tuple[np.ndarray, np.ndarray]:
    start = np.where(self.finite, self.low, 0)
    return start, (np.where(self.finite, self.high, 0) - start) / 2

  def _scaled(self, value: np.ndarray) -> np.ndarray:
    start, half = self._scale
    scaled = start + (np.minimum(np.maximum(value, -1), 1) + 1) * half
    return scaled if self._whole else np.where(self.finite, scaled, value)


@dataclasses.dataclass(frozen=True)
class Interface:
  """Spaces of an environment, and what its agent sees of them.

  Values may have leading axes, (W,) or (B, T), before the shapes of the spaces.

  Args:
    observation, action: Spaces of the environment itself.
    image_size: Height and width that images are scaled to; () leaves them.
    drawn: Shape (H, W, 3) of a drawing that is observed as `image`, beside the
      observations; () if there is none.
    rescaled: Continuous actions are presented in [-1, 1].
  """

  observation: Space
  action: Space
  image_size: tuple[int, ...] = ()
  drawn: tuple[int, ...] = ()
  rescaled: bool = True

  def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
    # Without what was made of them: functions cannot be pickled.
    values = [getattr(self, x.name) for x in dataclasses.fields(self)]
    return type(self), tuple(values)

  @functools.cached_property
  def _leaves(self) -> tuple[spaces.Leaf, ...]:
    found = spaces.normalize(self.observation, 'observation', 'vector')
    return tuple(x for x in found.leaves if not x.key.startswith(LOG))

  @functools.cached_property
  def _acted(self) -> spaces.Normalized:
    return spaces.normalize(self.action, 'action', 'action')

  @functools.cached_property
  def _bounds(self) -> dict[str, Bounds]:
    acted = self._acted.spaces.items() if self.rescaled else ()
    found = {k: x for k, x in acted if not spaces.is_discrete(x)}
    return {key: Bounds.of(space) for key, space in found.items()}

  @functools.cached_property
  def obs_space(self) -> spaces.FlatSpaces:
    """Spaces that the agent sees, by key."""
    found = {leaf.key: leaf.space for leaf in self._leaves}
    if self.drawn:
      found[IMAGE] = spacetypes.image(self.drawn)
    for key, space in found.items():
      if self.image_size and spaces.is_image(space):
        found[key] = spacetypes.image((*self.image_size, space.shape[-1]))
    return found

  @functools.cached_property
  def action_space(self) -> spaces.FlatSpaces:
    """Spaces that the agent acts in, by key."""
    scaled = {key: bounds.scaled for key, bounds in self._bounds.items()}
    return self._acted.spaces | scaled

  def observed(
    self, value: Any, unread: Collection[str] = ()
  ) -> tuple[dict[str, np.ndarray], Lead]:
    """Converts what the environment observes to what the agent sees.

    Args:
      value: As its space is nested, or a dict by flat key.
      unread: Keys that may be missing, and then are zeros.

    Returns:
      Arrays by key, and the leading axes that they have.

    Raises:
      UserError: It is not of the space of the environment, or not finite.
    """
    result, leads = {}, {}
    wanted = [x for x in self._leaves if x.key not in unread or _has(x, value)]
    for leaf, given in _parts(wanted, value, 'obs'):
      leads[leaf.key], rows = _rows(given, leaf.native.shape, leaf.key)
      rows = [self._scaled(_encoded(leaf, row)) for row in rows]
      result[leaf.key] = _joined(rows, leads[leaf.key])
    if self.drawn:
      given = value.get(IMAGE) if isinstance(value, Mapping) else None
      if given is None:
        raise UserError('has no drawing of the environment.', f'obs[{IMAGE!r}]')
      leads[IMAGE], rows = _rows(given, self.drawn, IMAGE)
      rows = [self._scaled(np.asarray(row, np.uint8)) for row in rows]
      result[IMAGE] = _joined(rows, leads[IMAGE])
    lead = _one_lead(leads, 'obs')
    for leaf in self._leaves:
      if leaf.key not in result:
        result[leaf.key] = spaces.example(leaf.space, lead)
    return result, lead

  def acted(self, value: Any) -> tuple[dict[str, np.ndarray], Lead]:
    """Converts actions of the environment to those of the agent.

    Returns:
      Arrays by key, and the leading axes that they have.

    Raises:
      UserError: It is not of the space of the environment.
    """
    result, leads = {}, {}
    for leaf, given in _parts(self._acted.leaves, value, 'action'):
      lead, rows = _rows(given, leaf.native.shape, leaf.key)
      array = _joined([_encoded(leaf, row) for row in rows], lead)
      if leaf.key in self._bounds:
        array = self._bounds[leaf.key].presented(array)
      result[leaf.key], leads[leaf.key] = array, lead
    return result, _one_lead(leads, 'action')

  def native_action(self, action: Mapping[str, np.ndarray]) -> Any:
    """Converts actions of the agent to those of the environment."""
    return self._acted.unflatten(self._in_units(action))

  def native_actions(self, action: Mapping[str, np.ndarray]) -> list[Any]:
    """Converts (W, ...) actions of the agent to those of W environments."""
    return self._acted.rows(self._in_units(action))

  def native_observation(
    self, arrays: Mapping[str, np.ndarray]
  ) -> dict[str, np.ndarray]:
    """Converts arrays of observations, by key, to the environment's units.

    Images that were scaled keep the size that the agent sees.
    """
    leaves = {leaf.key: leaf for leaf in self._leaves}
    result = dict(arrays)
    for key in arrays.keys() & leaves.keys():
      scaled = spaces.is_image(leaves[key].space) and self.image_size
      if not scaled:
        result[key] = leaves[key].decode(np.asarray(arrays[key]))
    return result

  def to_json(self) -> dict[str, Any]:
    """Describes the interface in full."""
    return {
      'observation': spacetypes.to_json(self.observation),
      'action': spacetypes.to_json(self.action),
      'image_size': list(self.image_size),
      'drawn': list(self.drawn),
      'rescaled': self.rescaled,
    }

  @classmethod
  def from_json(cls, described: Any) -> 'Interface':
    """Makes the interface that `to_json` described.

    Raises:
      ValueError: It did not.
    """
    try:
      sizes = {
        name: tuple(map(int, described[name]))
        for name in ('image_size', 'drawn')
      }
      for name, sides in sizes.items():
        if not all(0 < side <= MAX_SIDE for side in sides) or len(sides) > 3:
          raise ValueError(f'{name} = {described[name]!r:.80}')
      return cls(
        spacetypes.from_json(described['observation']),
        spacetypes.from_json(described['action']),
        **sizes,
        rescaled=bool(described['rescaled']),
      )
    except (KeyError, TypeError) as error:
      raise ValueError('it describes no interface.') from error

  def _in_units(self, action: Mapping[str, np.ndarray]) -> dict[str, Any]:
    values = {x.key: np.asarray(action[x.key]) for x in self._acted.leaves}
    for key, bounds in self._bounds.items():
      values[key] = bounds.native(values[key])
    return values

  def _scaled(self, array: np.ndarray) -> np.ndarray:
    image = array.dtype == np.uint8 and array.ndim == 3 and self.image_size
    return resize(array, self.image_size) if image else array


def of(envs: Any) -> Interface:
  """The interface of a vector of environments; a plain one if it has none."""
  found = getattr(envs, 'interface', None)
  if isinstance(found, Interface):
    return found
  types = spacetypes.types()
  return Interface(
    types.Dict(dict(envs.obs_space)),
    types.Dict(dict(envs.action_space)),
    rescaled=False,
  )


def resize(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
  """Bilinear resampling of (H, W, C) uint8 to (*size, C)."""
  from PIL import Image

  if image.shape[:2] == tuple(size):
    return image
  height, width = size
  scale = lambda x: np.asarray(
    Image.fromarray(x).resize((width, height), Image.Resampling.BILINEAR)
  )
  if image.shape[-1] == 3:
    return scale(np.ascontiguousarray(image))
  # One channel at a time: Pillow would take a fourth channel for opacity.
  channels = [np.ascontiguousarray(x) for x in np.moveaxis(image, -1, 0)]
  return np.stack([scale(x) for x in channels], -1)


def _has(leaf: spaces.Leaf, value: Any) -> bool:
  """Tells whether a value has a part, by flat key or as nested."""
  if isinstance(value, Mapping) and leaf.key in value:
    return True
  for step in leaf.path:
    try:
      value = value[step]
    except MISSING:
      return False
  return bool(leaf.path)


def _parts(
  leaves: Sequence[spaces.Leaf], value: Any, what: str
) -> Iterator[tuple[spaces.Leaf, Any]]:
  """Pairs each leaf with its part of a value, by flat key or as nested."""
  mapped = isinstance(value, Mapping)
  by_key = mapped and all(leaf.key in value for leaf in leaves)
  for leaf in leaves:
    part = value[leaf.key] if by_key else value
    for step in () if by_key else leaf.path:
      try:
        part = part[step]
      except MISSING as error:
        raise _missing(leaf, value, what) from error
    if isinstance(part, Mapping):
      raise _missing(leaf, value, what)
    yield leaf, part


def _missing(leaf: spaces.Leaf, value: Any, what: str) -> UserError:
  there = f'a {type(value).__name__}'
  if isinstance(value, Mapping):
    there = ', '.join(sorted(map(str, value))) or 'no keys'
  return UserError(f'there is no {leaf.key!r}, got {there}.', what)


def _rows(
  given: Any, shape: tuple[int, ...], key: str
) -> tuple[Lead, np.ndarray]:
  """Splits an array (*lead, *shape) into its lead and rows (n, *shape)."""
  array = np.asarray(given)
  if shape == (1,) and array.ndim == 0:
    array = array.reshape(1)
  rank = array.ndim - len(shape)
  if not 0 <= rank <= MAX_LEAD or array.shape[rank:] != shape:
    raise UserError(
      f'has the shape {array.shape}, its space {shape}; before it, at most '
      f'{MAX_LEAD} axes of rows and steps.',
      repr(key),
    )
  lead = array.shape[:rank]
  if 0 in lead:
    raise UserError(f'has no rows or no steps: {array.shape}.', repr(key))
  return lead, array.reshape(-1, *shape)


def _encoded(leaf: spaces.Leaf, row: np.ndarray) -> np.ndarray:
  try:
    result = leaf.encode(row)
  except ValueError as error:
    raise UserError(str(error), repr(leaf.key)) from error
  if result.dtype.kind == 'f' and not np.isfinite(result).all():
    raise UserError('has numbers that are not finite.', repr(leaf.key))
  return result


def _joined(rows: list[np.ndarray], lead: Lead) -> np.ndarray:
  array = np.stack(rows)
  return array.reshape((*lead, *array.shape[1:]))


def _one_lead(leads: Mapping[str, Lead], what: str) -> Lead:
  if len(set(leads.values())) > 1:
    shown = ', '.join(f'{key!r} {lead}' for key, lead in leads.items())
    raise UserError(f'its leading axes differ: {shown}.', what)
  return next(iter(leads.values()))
