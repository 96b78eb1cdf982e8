"""Checks of what a vector of environments returns."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from dreamer_nnx import native, spaces
from dreamer_nnx.contracts import VectorEnv
from dreamer_nnx.envs.faults import EnvError, check_finite, describe
from dreamer_nnx.envs.wrapped import WrappedVectorEnv, is_whole
from dreamer_nnx.errors import UserError

FLAGS = {'reward': 'f', 'is_first': 'b', 'is_last': 'b', 'is_terminal': 'b'}
MAX_RANK = 2


class CheckedVectorEnv(WrappedVectorEnv):
  """A `VectorEnv` that checks every value it returns against its spaces.

  Types of the same kind are converted (float64 to float32); all else that the
  contract does not say is refused with its key, environment and step.

  Args:
    where: The config path, for errors.

  Raises:
    UserError: Its spaces are not of the normalised kinds, or `repeat` is no
      number of steps.
    EnvError: An answer of `reset` or `step` is not as it must be.
  """

  def __init__(self, env: VectorEnv, where: str) -> None:
    super().__init__(env)
    self._where, self._step = where, 0
    if hasattr(env, 'repeat'):
      _check_repeat(env.repeat, where)
    spaces.check_keys(self.obs_space, self.action_space, where)
    for key, space in {**self.obs_space, **self.action_space}.items():
      if not _is_normal(space):
        raise UserError(
          f'{key!r} has the space {space}. A vector of environments has Box '
          'float32 of rank 0 to 2, Box uint8 (height, width, channels), '
          'Discrete from 0 and MultiDiscrete of rank 1 from 0.',
          where,
        )
      if spaces.is_discrete(space):
        native.check_classes(space, f'{where}: {key!r}')
    # By key: shape, type, and the space if it has classes.
    kinds = {'f': np.dtype(np.float32), 'b': np.dtype(bool)}
    self._wanted = {
      key: ((self.num_envs,), kinds[kind], None) for key, kind in FLAGS.items()
    } | {
      key: (
        (self.num_envs, *space.shape),
        spaces.data_type(space),
        space if spaces.is_discrete(space) else None,
      )
      for key, space in self.obs_space.items()
    }

  def reset(self) -> dict[str, np.ndarray]:
    self._step = 0
    return self._checked(self._env.reset())

  def step(self, action: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    self._step += 1
    return self._checked(self._env.step(action))

  def _checked(self, answer: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if not isinstance(answer, Mapping):
      raise self._error(f'a step is a dict of arrays, not {type(answer)}.')
    for key in self._wanted:
      if key not in answer:
        raise self._error(f'{key!r} is missing, got {sorted(answer)}.')
    result = {k: self._array(k, v) for k, v in answer.items()}
    observed = {k: result[k] for k in self.obs_space}
    try:
      check_finite(observed, 'observation', self._step)
      check_finite({'reward': result['reward']}, 'signal', self._step)
    except EnvError as error:
      raise EnvError(str(error), self._where) from None
    return result

  def _array(self, key: str, value: Any) -> np.ndarray:
    try:
      value = np.asarray(value)
    except Exception as error:
      raise self._error(f'{key!r} is no array: {describe(error)}') from error
    shape, want, classes = self._wanted.get(key) or self._logged(key, value)
    if value.shape != shape:
      raise self._error(f'{key!r} has the shape {value.shape}, not {shape}.')
    if value.dtype != want:
      if not np.can_cast(value.dtype, want, 'same_kind'):
        raise self._error(f'{key!r} is {value.dtype}, not {want}.')
      value = self._cast(key, value, want)
    if classes is not None:
      self._check_classes(key, value, classes)
    return value

  def _cast(self, key, value, want):
    cast = native.narrowed(value, want)
    if want.kind in 'iu':
      wrong = cast != value
      self._refuse(key, value, wrong, f'no {want}')
    return cast

  def _logged(self, key, value):
    if not key.startswith('log/'):
      raise self._error(f'{key!r} is in no space; keys log/* may be.')
    kept = value.dtype.kind in 'fiub'
    return (self.num_envs,), value.dtype if kept else np.dtype(float), None

  def _check_classes(
    self, key: str, value: np.ndarray, space: gymnasium.Space
  ) -> None:
    classes = np.reshape(spaces.classes(space), space.shape)
    wrong = (value < 0) | (value >= classes)
    self._refuse(key, value, wrong, f'not in its space {space}')

  def _refuse(
    self, key: str, value: np.ndarray, wrong: np.ndarray, why: str
  ) -> None:
    """Raises an error if an entry is wrong, and names the first."""
    if wrong.any():
      index = int(np.flatnonzero(wrong.reshape(len(wrong), -1).any(1))[0])
      found = value[wrong].flat[0]
      raise self._error(f'{key!r} of environment {index}: {found} is {why}.')

  def _error(self, what: str) -> EnvError:
    return EnvError(f'at step {self._step}: {what}', self._where)


def _check_repeat(repeat: Any, where: str) -> None:
  if not is_whole(repeat) or repeat < 1:
    raise UserError(
      f'its attribute `repeat` is {repeat!r}. It is a whole number from 1, of '
      'simulated steps for an action; leave it out if that is not fixed.',
      where,
    )


def _is_normal(space: gymnasium.Space) -> bool:
  if isinstance(space, gymnasium.spaces.Discrete):
    return space.start == 0
  if isinstance(space, gymnasium.spaces.MultiDiscrete):
    return space.nvec.ndim == 1 and not np.any(space.start)
  if not isinstance(space, gymnasium.spaces.Box):
    return False
  floats = space.dtype == np.float32 and len(space.shape) <= MAX_RANK
  return 0 not in space.shape and (floats or spaces.is_image(space))
