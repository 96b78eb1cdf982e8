"""What goes wrong in an environment: crashes, restarts, broken numbers."""

import dataclasses
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

from dreamer_nnx import spaces, streams
from dreamer_nnx.streams import Stream


class EnvError(RuntimeError):
  """An environment broke its contract, or crashed too often."""


@dataclasses.dataclass(frozen=True)
class Fault:
  """What a worker reports in `info['fault']` for one step.

  `restarts` counts the new starts of this step; a `fatal` fault stops the
  run. `in_a_row` is the number of crashes since an episode ended by itself.
  """

  message: str
  restarts: int = 0
  in_a_row: int = 0
  fatal: bool = False


class Restart(gymnasium.Env):
  """One environment that is made again after it has raised.

  An exception in `step` ends the episode: the last good observation again,
  reward 0, truncated. The next `reset` makes a new environment, and another
  one if that raises too. It never raises itself, so that the other
  environments of a vector stay usable; faults travel in `info['fault']`.

  The environment is made at the first reset: in a worker process, and beside
  the others of the vector.

  Args:
    make: Makes the environment, with flat spaces.
    obs_space, action_space: The flat spaces that it must have.
    limit: Crashes in a row (without an episode that ended by itself between
      them) after which the run stops.
  """

  def __init__(
    self,
    make: Callable[[], gymnasium.Env],
    obs_space: Mapping[str, gymnasium.Space],
    action_space: Mapping[str, gymnasium.Space],
    limit: int,
  ) -> None:
    self.observation_space = gymnasium.spaces.Dict(obs_space)
    self.action_space = gymnasium.spaces.Dict(action_space)
    self._make = make
    self._limit = limit
    self._env = None
    self._last = {k: spaces.example(v) for k, v in obs_space.items()}
    self._crashes = 0

  def reset(self, *, seed=None, options=None) -> tuple[dict, dict]:
    info, restarts = {}, 0
    while True:
      try:
        self._env = self._env or self._start()
        self._last, _ = self._env.reset(seed=seed, options=options)
        return self._last, info
      except Exception as error:
        fault = self._crash(error, 'reset')
        restarts += fault.restarts
        info['fault'] = dataclasses.replace(fault, restarts=restarts)
        if fault.fatal:
          return self._last, info
      # The same seed could lead to the same crash.
      if seed is not None:
        seed = streams.seed(seed, Stream.CRASH)

  def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
    try:
      obs, reward, terminated, truncated, _ = self._env.step(action)
      reward = float(np.asarray(reward).item())
      terminated, truncated = bool(terminated), bool(truncated)
    except Exception as error:
      return self._last, 0.0, False, True, {'fault': self._crash(error, 'step')}
    if terminated or truncated:
      self._crashes = 0
    self._last = obs
    return obs, reward, terminated, truncated, {}

  def close(self) -> None:
    env, self._env = self._env, None
    if env is not None:
      env.close()

  def _start(self):
    env = self._make()
    for name in ('observation_space', 'action_space'):
      want, got = getattr(self, name), getattr(env, name)
      if want != got:
        env.close()
        raise EnvError(
          f'its {name} is {got}, the first environment made has {want}. All '
          'environments of a run must have the same spaces.'
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


def describe(error: BaseException) -> str:
  """An exception in one line, with the place that raised it."""
  if isinstance(error, EnvError):
    return str(error)
  frames = traceback.extract_tb(error.__traceback__)
  place = f' ({frames[-1].filename}:{frames[-1].lineno})' if frames else ''
  return f'{type(error).__name__}: {error}{place}'


def check_finite(
  values: Mapping[str, np.ndarray], kind: str, step: int
) -> None:
  """Refuses NaN and infinite numbers in (W, ...) arrays.

  Raises:
    EnvError: Naming the key, the first environment concerned and the step.
  """
  for key, value in values.items():
    if value.dtype.kind == 'f' and not np.isfinite(value).all():
      bad = ~np.isfinite(value).reshape(len(value), -1)
      index = int(np.flatnonzero(bad.any(1))[0])
      number = value.reshape(len(value), -1)[index][bad[index]][0]
      raise EnvError(
        f'{kind} {key!r} of environment {index} is {number} at step {step}; '
        'every number must be finite.'
      )
