"""Checks of gymnasium's rules for the values an environment returns."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import wrappers

from dreamer_nnx.envs.faults import EnvError

# Types of one number each, which need no look inside.
NUMBERS = frozenset(
  (float, int, np.float64, np.float32, np.int64, np.int32, np.bool_, bool)
)
STEP = '(observation, reward, terminated, truncated, info)'
# Wrappers that pass on what the environment answers, or end the episode.
PASSING = frozenset((wrappers.TimeLimit, wrappers.OrderEnforcing))
OLD = (
  ' This is the interface of gym before 0.26: wrap it, for instance by '
  'shimmy.GymV21CompatibilityV0, or return what gymnasium.Env asks for.'
)


class Checked(gymnasium.Wrapper):
  """Refuses answers that are not of gymnasium's interface.

  Args:
    passing: Passes steps on, for they are checked further inside.

  Raises:
    EnvError: An answer of `reset` or `step` breaks a rule; it is described.
  """

  def __init__(self, env: gymnasium.Env, passing: bool = False) -> None:
    super().__init__(env)
    self._passing = passing
    self.put(env)

  def put(self, env: gymnasium.Env) -> None:
    """Takes another environment in place of the one within."""
    self.env = env
    # Takes less time than a method.
    checked = functools.partial(_step, env.step)
    self.step = env.step if self._passing else checked

  def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
    return _reset(self.env.reset, seed=seed, options=options)


def checked(env: gymnasium.Env) -> Checked:
  """Adds checks of what an environment answers.

  They are around the innermost one, for the wrappers between unpack the answer,
  with an error that says nothing; and around all of it, unless all wrappers
  pass answers on.
  """
  inmost, between = env.unwrapped, _wrappers(env)
  if inmost is not env:
    try:
      inmost.reset = functools.partial(_reset, inmost.reset)
      inmost.step = functools.partial(_step, inmost.step)
    except (AttributeError, TypeError):
      # Not an object of Python's: the outer check remains.
      return Checked(env)
  return Checked(env, passing=bool(between) and PASSING.issuperset(between))


def _wrappers(env: gymnasium.Env) -> list[type]:
  """The types of the wrappers around the innermost environment."""
  found = []
  while isinstance(env, gymnasium.Wrapper):
    found.append(type(env))
    env = env.env
  return found


def _reset(reset: Callable[..., Any], **arguments: Any) -> tuple:
  try:
    result = reset(**arguments)
  except TypeError as error:
    if _takes(reset, arguments):
      raise
    raise EnvError(
      f'reset must take seed and options as keywords ({error}).{OLD}'
    ) from error
  pair = isinstance(result, tuple) and len(result) == 2
  if not pair or not isinstance(result[1], Mapping):
    raise EnvError(
      f'reset must return (observation, info), it returned {_kind(result)}.'
      f'{OLD}'
    )
  return result


def _takes(function: Callable[..., Any], arguments: dict[str, Any]) -> bool:
  try:
    inspect.signature(function).bind(**arguments)
  except TypeError:
    return False
  except ValueError:
    # Its signature cannot be known.
    return True
  return True


def _step(step: Callable[[Any], Any], action: Any) -> tuple:
  result = step(action)
  if type(result) is tuple and len(result) == 5:
    obs, reward, terminated, truncated, info = result
    if type(terminated) is bool and type(truncated) is bool:
      if type(reward) is float:
        return result
      if type(reward) in NUMBERS:
        return obs, float(reward), terminated, truncated, info
  elif not isinstance(result, tuple | list) or len(result) != 5:
    old = isinstance(result, tuple | list) and len(result) == 4
    raise EnvError(
      f'step must return 5 values, {STEP}; it returned {_kind(result)}.'
      f'{OLD if old else ""}'
    )
  obs, reward, terminated, truncated, info = result
  ends = _flag('terminated', terminated), _flag('truncated', truncated)
  return obs, _reward(reward), *ends, info


def _reward(value: Any) -> float:
  if type(value) in NUMBERS:
    return float(value)
  return float(_scalar(value, 'the reward must be one number'))


def _flag(name: str, value: Any) -> bool:
  if type(value) in NUMBERS:
    return bool(value)
  return bool(_scalar(value, f'{name} must be True or False'))


def _scalar(value: Any, promise: str) -> Any:
  array = np.asarray(value)
  if array.size != 1 or array.dtype.kind not in 'fiub':
    raise EnvError(f'{promise}, it is {_shown(value)}.')
  return array.item()


def _kind(value: Any) -> str:
  """Describes a value in a few words."""
  if isinstance(value, tuple | list):
    return f'a {type(value).__name__} of {len(value)}'
  return 'None' if value is None else f'a {type(value).__name__}'


def _shown(value: Any) -> str:
  array = np.asarray(value)
  shape = f' of the shape {array.shape}' if array.ndim else ''
  text = repr(value) if value is None or array.ndim == 0 else ''
  return text or f'{_kind(value)}{shape}'
