"""Workers that are processes of this machine.

Gymnasium's AsyncVectorEnv is unusable once one of its processes is gone, so
each environment has one to itself.
"""

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.envs.fleet import Answer, Lost, Make

# A fork of this process would inherit the locks of JAX's threads as they are.
CONTEXT = 'forkserver'
CLOSE_SECONDS = 5

_LOST = (EOFError, OSError)


class Process:
  """A link to an environment in a process of its own; see `fleet.Link`.

  Raises:
    EnvError: The process died while it started.
  """

  def __init__(self, make: Make) -> None:
    multiprocessing.get_context(CONTEXT).set_forkserver_preload(
      ['dreamer_nnx.envs.wrappers', 'gymnasium.vector']
    )
    self._resetting = False
    try:
      with _without_main():
        self._env = AsyncVectorEnv(
          [functools.partial(_make_in_worker, make, os.getpid())],
          copy=False,
          context=CONTEXT,
          autoreset_mode=AutoresetMode.NEXT_STEP,
        )
    except _LOST as error:
      raise EnvError(
        'the process of an environment died while it started. Its own words '
        "are above; workers = 'sync' shows the error here."
      ) from error
    self.obs_space = self._env.single_observation_space

  def reset(self, seed: int) -> None:
    self._resetting = True
    with _losing():
      self._env.reset_async([seed])

  def step(self, action: Mapping[str, np.ndarray]) -> None:
    self._resetting = False
    with _losing():
      self._env.step_async(action)

  def receive(self) -> Answer:
    with _losing():
      if self._resetting:
        obs, info = self._env.reset_wait()
        reward, terminated, truncated = [0.0], [False], [False]
      else:
        obs, reward, terminated, truncated, info = self._env.step_wait()
    return Answer(
      # The arrays are the memory shared with the process: copied.
      {key: value[0].copy() for key, value in obs.items()},
      float(reward[0]),
      bool(terminated[0]),
      bool(truncated[0]),
      info.get('fault', (None,))[0],
    )

  def bury(self) -> str:
    process = self._env.processes[0]
    process.join(CLOSE_SECONDS)
    message = f'its process died (exit code {process.exitcode})'
    self._dispose()
    return message

  def close(self) -> None:
    with contextlib.suppress(*_LOST):
      self._env.close(timeout=CLOSE_SECONDS)
    self._dispose()

  def _dispose(self):
    """Frees everything, whatever state the process and the pipe are in."""
    env = self._env
    env.closed = True
    for process in env.processes:
      process.kill()
      process.join()
      process.close()
    for pipe in env.parent_pipes:
      if pipe is not None:
        pipe.close()
    env.error_queue.close()


@contextlib.contextmanager
def _losing() -> Iterator[None]:
  try:
    yield
  except _LOST as error:
    raise Lost from error


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
