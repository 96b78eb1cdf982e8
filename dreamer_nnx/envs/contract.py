"""Checks of gymnasium's rules for the values an environment returns."""

import contextlib
import dataclasses
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

  Raises:
    EnvError: An answer of `reset` or `step` breaks a rule; it is described.
  """

  def __init__(self, env: gymnasium.Env) -> None:
    super().__init__(env)
    self.put(env)

  def put(self, env: gymnasium.Env) -> None:
    """Takes another environment in place of the one within."""
    self.env = env
    # Takes less time than a method. The environment is asked for its own step
    # each time, for it may replace it.
    self.step = functools.partial(_step, env)

  def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
    return _reset(self.env.reset, seed=seed, options=options)


@dataclasses.dataclass
class Note:
  """Says what the last call has broken."""

  fault: EnvError | None = None


class Explained(Checked):
  """Checks around wrappers, which says what an environment within has broken.

  Wrappers unpack its answer, with an error that says nothing. As they may also
  convert it, it is no fault until one of them fails.

  Args:
    inmost: The environment within.
  """

  def __init__(self, env: gymnasium.Env, inmost: gymnasium.Env) -> None:
    super().__init__(env)
    self._note, self._converted = Note(), False
    for name, check in (('reset', _begun), ('step', _answered)):
      method = getattr(inmost, name)
      # Wrappers may copy it, or look at its signature.
      noting = functools.partial(_noting, method, check, self._note)
      # Where it takes no attributes, nothing is explained.
      with contextlib.suppress(AttributeError, TypeError):
        setattr(inmost, name, functools.update_wrapper(noting, method))

  def put(self, env: gymnasium.Env) -> None:
    super().put(env)
    self.step = functools.partial(self._explained, self.step)

  def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
    return self._explained(super().reset, seed=seed, options=options)

  def _explained(self, call, *given, **named):
    note = self._note
    note.fault = None
    try:
      result = call(*given, **named)
    except Exception as error:
      if note.fault is None or self._converted:
        raise
      raise note.fault from error
    self._converted = self._converted or note.fault is not None
    return result


def _noting(method, check, note, *given, **named):
  """Calls a method; notes what is wrong with its answer, or how it is asked."""
  try:
    result = method(*given, **named)
  except TypeError as error:
    if check is _begun and not _takes(method, given, named):
      note.fault = _refused(error)
    raise
  try:
    check(result)
  except EnvError as error:
    note.fault = error
  return result


def checked(env: gymnasium.Env) -> gymnasium.Env:
  """Adds checks of what an environment answers.

  They are around the innermost one, if all wrappers pass answers on, and else
  around all of it.
  """
  around = _wrappers(env)
  if not around:
    return Checked(env)
  innermost = around[-1]
  if all(map(_passes, around)):
    innermost.env = Checked(innermost.env)
    return env
  inmost = innermost.env
  # One that keeps its attributes elsewhere is left alone.
  plain = type(inmost).__setattr__ is object.__setattr__
  return Explained(env, inmost) if plain else Checked(env)


def _wrappers(env: gymnasium.Env) -> list[gymnasium.Wrapper]:
  """The wrappers around the innermost environment, outermost first."""
  found = []
  while isinstance(env, gymnasium.Wrapper):
    found.append(env)
    env = env.env
  return found


def _passes(wrapper: gymnasium.Wrapper) -> bool:
  """Tells whether a wrapper is of gymnasium's own, as it was made."""
  replaced = {'step', 'reset'} & vars(wrapper).keys()
  return type(wrapper) in PASSING and not replaced


def _reset(reset: Callable[..., Any], **arguments: Any) -> tuple:
  try:
    result = reset(**arguments)
  except TypeError as error:
    if _takes(reset, (), arguments):
      raise
    raise _refused(error) from error
  return _begun(result)


def _begun(result: Any) -> tuple:
  """The answer of a reset."""
  pair = isinstance(result, tuple) and len(result) == 2
  if not pair or not isinstance(result[1], Mapping):
    raise EnvError(
      f'reset must return (observation, info), it returned {_kind(result)}.'
      f'{OLD}'
    )
  return result


def _refused(error: TypeError) -> EnvError:
  return EnvError(
    f'reset must take seed and options as keywords ({error}).{OLD}'
  )


def _takes(
  function: Callable[..., Any], given: tuple, named: Mapping[str, Any]
) -> bool:
  try:
    inspect.signature(function).bind(*given, **named)
  except TypeError:
    return False
  except ValueError:
    # Its signature cannot be known.
    return True
  return True


def _step(env: gymnasium.Env, action: Any) -> tuple:
  return _answered(env.step(action))


def _answered(result: Any) -> tuple:
  """The answer of a step, with a number and flags of Python's own types."""
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
