"""Arrays (W, ...) of the answers of W environments."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dreamer_nnx import spaces
from dreamer_nnx.envs.host import Answer
from dreamer_nnx.spacetypes import Space

LARGEST = np.finfo(np.float32).max
# The least that a number is outside its bounds by; see `rules.outside`.
SLACK = 1e-4


class Joined(NamedTuple):
  """The answers of all environments to one step.

  Args:
    obs: Arrays (W, ...) by key.
    reward: (W,) float32.
    sound: Whether all floats are finite and within the bounds that are looked
      at. If not, then some may be outside, or nearly.
  """

  obs: dict[str, np.ndarray]
  reward: np.ndarray
  sound: bool


class Batch:
  """Joins the observations and rewards of W environments.

  All floats are parts of one array, which takes one comparison for all of
  them: rewards (W,), observations of one number (K, W), and the others,
  (W, ...) each.

  Args:
    flat: Spaces of the observations.
    bounded: Keys with bounds to look at.
  """

  def __init__(
    self, flat: Mapping[str, Space], num_envs: int, bounded: Iterable[str]
  ) -> None:
    self._keys, self._num_envs = tuple(flat), num_envs
    types = {key: spaces.data_type(space) for key, space in flat.items()}
    shapes = {key: (num_envs, *space.shape) for key, space in flat.items()}
    floats = [key for key, dtype in types.items() if dtype == np.float32]
    self._numbers = [key for key in floats if not flat[key].shape]
    self._others = [(k, shapes[k], types[k]) for k in flat if k not in floats]
    self._scalars = slice(num_envs, num_envs * (1 + len(self._numbers)))
    end, self._arrays = self._scalars.stop, []
    for key in (x for x in floats if x not in self._numbers):
      start, end = end, end + int(np.prod(shapes[key]))
      self._arrays.append((key, slice(start, end), shapes[key]))
    self._size = end
    self._filled = [key for key, *_ in (*self._arrays, *self._others)]
    self._bounds = {key: flat[key] for key in bounded}
    self._above, self._below = np.empty((2, self._size), bool)
    self._limit()

  def join(self, answers: Sequence[Answer]) -> Joined:
    """Joins the answers of all environments in new arrays."""
    floats = np.empty(self._size, np.float32)
    reward = floats[: self._num_envs]
    reward[:] = [answer.reward for answer in answers]
    rows = [answer.obs for answer in answers]
    if self._numbers:
      numbers = [row[key] for key in self._numbers for row in rows]
      floats[self._scalars] = numbers
    parts = self._parts(floats)
    for key, shape, dtype in self._others:
      parts[key] = np.empty(shape, dtype)
    for key in self._filled:
      parts[key][:] = [row[key] for row in rows]
    sound = np.count_nonzero(self._inside(floats)) == self._size
    return Joined({key: parts[key] for key in self._keys}, reward, sound)

  def forget(self, key: str) -> None:
    """Looks at the bounds of a key no more."""
    del self._bounds[key]
    self._limit()

  def _inside(self, floats: np.ndarray) -> np.ndarray:
    """Finds which are finite and within bounds: an array that is used again."""
    above, below = self._above, self._below
    if not self._bounds:
      return np.isfinite(floats, above)
    np.greater_equal(floats, self._low, above)
    np.less_equal(floats, self._high, below)
    return np.logical_and(above, below, above)

  def _limit(self) -> None:
    self._low = np.full(self._size, -LARGEST)
    self._high = np.full(self._size, LARGEST)
    lows, highs = self._parts(self._low), self._parts(self._high)
    for key, space in self._bounds.items():
      lows[key][:] = np.maximum(space.low - SLACK, -LARGEST)
      highs[key][:] = np.minimum(space.high + SLACK, LARGEST)

  def _parts(self, floats: np.ndarray) -> dict[str, np.ndarray]:
    """The part of each key in the array of all floats, (W, ...)."""
    parts = {key: floats[x].reshape(shape) for key, x, shape in self._arrays}
    if self._numbers:
      numbers = floats[self._scalars].reshape(-1, self._num_envs)
      parts.update(zip(self._numbers, numbers, strict=True))
    return parts
