"""One environment where it lives: made there, and made again if it raises."""

import dataclasses
import pickle
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from dreamer_nnx import streams
from dreamer_nnx.envs.faults import EnvError, Fault, describe
from dreamer_nnx.streams import Stream

# What stays as it is on its way to the user; see `single.vectorize`.
KEPT = (ValueError, TypeError, gymnasium.error.DependencyNotInstalled)


class Spaces(NamedTuple):
  """The flat spaces of an environment."""

  observation: dict[str, gymnasium.Space]
  action: dict[str, gymnasium.Space]


class Answer(NamedTuple):
  """What one environment answers to one step or reset."""

  obs: dict[str, np.ndarray]
  reward: float = 0.0
  terminated: bool = False
  truncated: bool = False
  fault: Fault | None = None


class Host:
  """Makes and steps one environment, and makes it again after it has raised.

  An exception in `step` ends the episode: the last good observation again,
  reward 0, truncated. The next `reset` makes a new environment, and another
  one if that raises too. Neither raises itself, so that the other
  environments of a vector stay usable; faults travel in the answer.

  Args:
    make: Makes the environment, with flat spaces; called when it is needed.
    limit: Crashes in a row (without an episode that ended by itself between
      them) after which the run stops.
    spaces: Those that it must have; None for whatever it has.
  """

  def __init__(
    self,
    make: Callable[[], gymnasium.Env],
    limit: int,
    spaces: Spaces | None = None,
  ) -> None:
    self._make = make
    self._limit = limit
    self._spaces = spaces
    self._env = None
    self._last: dict[str, np.ndarray] = {}
    self._crashes = 0

  def start(self) -> Spaces:
    """Makes the environment; returns its spaces.

    Raises:
      Exception: What making it raises.
    """
    self._env = self._env or self._started()
    return self._spaces

  def reset(self, seed: int | None) -> Answer:
    """The first observation of a new episode."""
    fault, restarts = None, 0
    while True:
      try:
        self._env = self._env or self._started()
        self._last, _ = self._env.reset(seed=seed)
        return Answer(self._last, fault=fault)
      except Exception as error:
        fault = self._crash(error, 'reset')
        restarts += fault.restarts
        fault = dataclasses.replace(fault, restarts=restarts)
        if fault.fatal:
          return Answer(self._last, fault=fault)
      # The same seed could lead to the same crash.
      if seed is not None:
        seed = streams.seed(seed, Stream.CRASH)

  def step(self, action: Mapping[str, np.ndarray]) -> Answer:
    """What an action leads to."""
    try:
      obs, reward, terminated, truncated, _ = self._env.step(action)
      reward = float(np.asarray(reward).item())
      terminated, truncated = bool(terminated), bool(truncated)
    except Exception as error:
      fault = self._crash(error, 'step')
      return Answer(self._last, truncated=True, fault=fault)
    if terminated or truncated:
      self._crashes = 0
    self._last = obs
    return Answer(obs, reward, terminated, truncated)

  def close(self) -> None:
    """Closes the environment, if there is one."""
    env, self._env = self._env, None
    if env is not None:
      env.close()

  def _started(self):
    env = self._make()
    found = Spaces(
      dict(env.observation_space.spaces), dict(env.action_space.spaces)
    )
    want = self._spaces = self._spaces or found
    for name in Spaces._fields:
      if getattr(want, name) != getattr(found, name):
        env.close()
        raise EnvError(
          f'its {name} space is {getattr(found, name)}, the first environment '
          f'made has {getattr(want, name)}. All environments of a run must '
          'have the same spaces.'
        )
    return env

  def _crash(self, error, where):
    broken = isinstance(error, EnvError)
    message = f'{"" if broken else f"{where} raised "}{describe(error)}'
    self._crashes += 1
    fatal = broken or self._crashes > self._limit
    try:
      self.close()
    except Exception as second:
      message += f'; close raised {describe(second)}'
    return Fault(message, 0 if fatal else 1, self._crashes, fatal)


def call(host: Host, name: str, arguments: tuple) -> Any:
  """The result of a method, or an exception that can be sent elsewhere."""
  try:
    return getattr(host, name)(*arguments)
  except Exception as error:
    return portable(error)


def portable(error: Exception) -> Exception:
  """The same exception if it can be pickled and matters, else its words."""
  if isinstance(error, KEPT):
    error.add_note(
      f'In its worker:\n{"".join(traceback.format_exception(error))}'
    )
    try:
      return pickle.loads(pickle.dumps(error))
    except Exception as second:
      return EnvError(f'{describe(error)}; it cannot be sent: {second}')
  return EnvError(describe(error))
