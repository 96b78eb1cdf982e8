"""Environments in processes of their own, replaced one by one if they die.

Gymnasium's AsyncVectorEnv is unusable once one of its processes is gone, so
each environment has one to itself.
"""

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from dreamer_nnx import spaces
from dreamer_nnx.envs.faults import EnvError, Fault

# A fork of this process would inherit the locks of JAX's threads as they are.
CONTEXT = 'forkserver'
CLOSE_SECONDS = 5

_LOST = (EOFError, OSError)


class ProcessVectorEnv:
  """The part of gymnasium's vector interface that `GymVectorEnv` uses.

  Args:
    makers: One for each environment; each makes a `Restart`, cheaply.
    limit: Deaths of one process in a row that are survived.
  """

  def __init__(
    self, makers: Sequence[Callable[[], gymnasium.Env]], limit: int
  ) -> None:
    multiprocessing.get_context(CONTEXT).set_forkserver_preload(
      ['dreamer_nnx.envs.wrappers', 'gymnasium.vector']
    )
    self._workers = []
    self._obs = None
    try:
      for maker in makers:
        self._workers.append(Worker(maker, limit))
    except BaseException:
      self.close()
      raise

  def reset(self, *, seed: list[int]) -> tuple[dict, dict]:
    """Resets all; see `gymnasium.vector.VectorEnv.reset`."""
    for worker, single in zip(self._workers, seed, strict=True):
      worker.send_reset(single)
    obs, _, _, _, info = self._receive()
    return obs, info

  def step(
    self, action: Mapping[str, np.ndarray]
  ) -> tuple[dict, np.ndarray, np.ndarray, np.ndarray, dict]:
    """Steps all; see `gymnasium.vector.VectorEnv.step`."""
    for index, worker in enumerate(self._workers):
      single = {k: v[index : index + 1] for k, v in action.items()}
      worker.send_step(single)
    return self._receive()

  def close(self) -> None:
    """Ends every process; those that do not answer are killed."""
    for worker in self._workers:
      worker.close()
    self._workers = []

  def _receive(self):
    answers = [worker.receive() for worker in self._workers]
    obs = {k: np.stack([a.obs[k] for a in answers]) for k in answers[0].obs}
    names = ('reward', 'terminated', 'truncated')
    columns = [np.array([getattr(a, n) for a in answers]) for n in names]
    faults = np.full(len(answers), None, object)
    faults[:] = [a.fault for a in answers]
    return obs, *columns, ({'fault': faults} if any(faults) else {})


class Answer(NamedTuple):
  """What one environment answers to one step or reset."""

  obs: dict[str, np.ndarray]
  reward: float
  terminated: bool
  truncated: bool
  fault: Fault | None


class Worker:
  """One environment in one process, which is replaced if it dies.

  Its death ends the episode: the last good observation again, reward 0,
  truncated. The next step is then the reset of the new environment.
  """

  def __init__(self, make: Callable[[], gymnasium.Env], limit: int) -> None:
    self._make = functools.partial(_make_in_worker, make, os.getpid())
    self._limit = limit
    self._deaths = 0
    self._fresh = False
    self._seed = None
    self._env = None
    self._start()
    flat = self._env.single_observation_space.spaces
    self._obs = {k: spaces.example(v) for k, v in flat.items()}

  def send_reset(self, seed: int) -> None:
    """Asks for a new episode; `receive` returns its first step."""
    self._seed = seed
    self._resetting = True
    self._send(self._env.reset_async, [seed])

  def send_step(self, action: Mapping[str, np.ndarray]) -> None:
    """Asks for a step with (1, ...) actions, or for the overdue reset."""
    if self._fresh:
      # Not the seed of the episode that has led to the death.
      self.send_reset((self._seed + 7919) % 2**31)
      return
    self._resetting = False
    self._send(self._env.step_async, action)

  def receive(self) -> Answer:
    """Waits for the answer; a process that died is replaced."""
    deaths = []
    while True:
      try:
        answer = self._wait()
        break
      except _LOST:
        deaths.append(self._replace())
        if deaths[-1].fatal or not self._resetting:
          answer = Answer(self._obs, 0.0, False, not self._resetting, None)
          break
        self.send_reset((self._seed + 7919) % 2**31)
    self._obs = answer.obs
    fault = _merge(deaths, answer.fault)
    if fault is None and (answer.terminated or answer.truncated):
      self._deaths = 0
    return answer._replace(fault=fault)

  def close(self) -> None:
    """Closes the environment and ends the process, killed if need be."""
    if self._env is None:
      return
    with contextlib.suppress(*_LOST):
      self._env.close(timeout=CLOSE_SECONDS)
    self._dispose()

  def _send(self, call, argument):
    self._sent = False
    with contextlib.suppress(*_LOST):
      call(argument)
      self._sent = True

  def _wait(self):
    if not self._sent:
      raise EOFError
    if self._resetting:
      obs, info = self._env.reset_wait()
      reward, terminated, truncated = [0.0], [False], [False]
    else:
      obs, reward, terminated, truncated, info = self._env.step_wait()
    self._fresh = False
    return Answer(
      # The arrays are the memory shared with the process: copied.
      {key: value[0].copy() for key, value in obs.items()},
      float(reward[0]),
      bool(terminated[0]),
      bool(truncated[0]),
      info.get('fault', (None,))[0],
    )

  def _start(self):
    try:
      with _without_main():
        self._env = AsyncVectorEnv(
          [self._make],
          copy=False,
          context=CONTEXT,
          autoreset_mode=AutoresetMode.NEXT_STEP,
        )
    except _LOST as error:
      raise EnvError(
        'the process of an environment died while it started. Its own words '
        "are above; vectorization = 'sync' shows the error here."
      ) from error

  def _replace(self):
    process = self._env.processes[0]
    process.join(CLOSE_SECONDS)
    message = f'its process died (exit code {process.exitcode})'
    self._dispose()
    self._deaths += 1
    self._fresh = True
    fatal = self._deaths > self._limit
    if not fatal:
      self._start()
    return Fault(message, 0 if fatal else 1, self._deaths, fatal)

  def _dispose(self):
    """Frees everything, whatever state the process and the pipe are in."""
    env, self._env = self._env, None
    env.closed = True
    for process in env.processes:
      process.kill()
      process.join()
      process.close()
    for pipe in env.parent_pipes:
      if pipe is not None:
        pipe.close()
    env.error_queue.close()


def _merge(deaths, fault):
  if not deaths:
    return fault
  total = sum(f.restarts for f in deaths) + (fault.restarts if fault else 0)
  worst = fault if fault and fault.fatal else deaths[-1]
  return Fault(worst.message, total, worst.in_a_row, worst.fatal)


def _make_in_worker(make, parent):
  # An interrupt from the terminal reaches the whole group; the parent saves
  # and closes its workers then, so they must outlive it.
  if os.getpid() != parent:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
  return make()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
  """Keeps new processes from importing the main module of this one.

  Makers are pickled whole, so they do not need it; it would load the agent
  with all its libraries into every worker, and run scripts a second time
  that do not guard their last lines.
  """
  main = sys.modules['__main__']
  saved = {k: vars(main).pop(k, None) for k in ('__spec__', '__file__')}
  main.__spec__ = None
  try:
    yield
  finally:
    for key, value in saved.items():
      if value is not None or key == '__spec__':
        setattr(main, key, value)
