"""The adapter from gymnasium's environments to `VectorEnv`."""

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from dreamer_nnx import spaces, streams
from dreamer_nnx.envs import rules
from dreamer_nnx.envs.batch import Batch
from dreamer_nnx.envs.faults import EnvError, Fault, check_finite
from dreamer_nnx.envs.fleet import CLOSE_SECONDS, Fleet, Link
from dreamer_nnx.envs.host import Answer
from dreamer_nnx.envs.local import LocalHub
from dreamer_nnx.envs.ray_actors import ActorHub
from dreamer_nnx.envs.subprocesses import ProcessHub
from dreamer_nnx.notices import warn_once
from dreamer_nnx.streams import Stream

HUBS = {'sync': LocalHub, 'async': ProcessHub, 'ray': ActorHub}

RESTARTED = '%s: %s is restarted: %s'

_logger = logging.getLogger(__name__)


class GymVectorEnv:
  """W gymnasium environments behind the `VectorEnv` interface.

  Every observation, reward and continuous action is checked to be finite.
  Environments that crash or hang are restarted (see `host.Host` and
  `fleet.Worker`) and counted in `stats()['env/restarts']`; `cut` says which
  episodes of the last step they ended, (W,). There is no state
  to resume from: gymnasium environments cannot be saved.

  Args:
    make: Makes environment number i, with flat spaces; called with a seed,
      too, one in place of another that crashed.
    seed: Environment i is first reset with a seed drawn from (seed, i).
    workers: 'sync' steps all in this process, 'async' has a process for each,
      'ray' an actor of a Ray cluster.
    max_restarts: Crashes of one environment in a row that are survived.
    step_timeout: Seconds that a step, a reset or the start of an environment
      may take; 0 for any. One that takes longer is restarted; with 'sync' it
      ends this process with status 1 and its stack (see `Watchdog`).
    where: The config path of this environment, for errors.
    repeat: How often each takes an action, to be told.

  Raises:
    EnvError: On numbers that are not finite, on values that do not fit their
      space, and on more crashes than `max_restarts` in a row.
  """

  def __init__(
    self,
    make: Callable[..., gymnasium.Env],
    num_envs: int,
    seed: int,
    *,
    workers: str,
    max_restarts: int,
    step_timeout: float,
    where: str,
    repeat: int = 1,
  ) -> None:
    self.num_envs, self.repeat = num_envs, repeat
    self._where = where
    self._seeds = [
      streams.seed(seed, Stream.RESET, index) for index in range(num_envs)
    ]
    self.max_restarts = max_restarts
    self.cut = np.zeros(num_envs, bool)
    self._was_last = None
    self._steps = 0
    self._restarts = 0
    makers = [functools.partial(make, index) for index in range(num_envs)]
    self._hub = functools.partial(HUBS[workers], step_timeout, where)
    self._first = makers[0]
    self._fleet = Fleet(self._hub(), makers, max_restarts, self._report)
    found = self._fleet.spaces
    self._flat, self.action_space, notes, self.interface = found
    for note in notes:
      warn_once(note)
    agent_keys = [k for k in self._flat if not k.startswith('log/')]
    self._bounded = {k for k in agent_keys if _has_bounds(self._flat[k])}
    self.obs_space = {key: self._flat[key] for key in agent_keys}
    self._batch = Batch(self._flat, num_envs, self._bounded)
    # Type and shape of the actions, by key.
    self._taken = {
      key: (spaces.data_type(space), (num_envs, *space.shape))
      for key, space in self.action_space.items()
    }
    self._any_floats = any(x.kind == 'f' for x, _ in self._taken.values())

  def reset(self) -> dict[str, np.ndarray]:
    """Starts an episode in every environment, from the same seeds again.

    Environments that leave the seed of `reset` unused go on instead.
    """
    self._steps = 0
    answers = self._fleet.reset(self._seeds)
    self._was_last = np.ones(self.num_envs, bool)
    return self._result(answers)

  def step(self, action: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Takes (W, ...) actions; see `VectorEnv`."""
    if self._was_last is None:
      raise EnvError('call reset before step.', self._where)
    self._steps += 1
    taken = {key: self._action(key, action) for key in self._taken}
    if self._any_floats:
      self._check(taken, 'action')
    return self._result(self._fleet.step(self.interface.native_actions(taken)))

  def close(self) -> None:
    """Closes the environments and ends their processes; never raises."""
    for line in self._fleet.close():
      _logger.warning('%s: %s', self._where, line)

  @contextlib.contextmanager
  def another(self, host: Callable[..., Any]) -> Iterator[Link]:
    """Starts one more worker like these, and ends it.

    Args:
      host: Makes the host in it, from what makes environment 0 and, with
        'sync', the exceptions that it has to catch, `caught`.
    """
    hub = self._hub()
    link = None
    try:
      link = hub.connect(functools.partial(host, self._first), 0)
      yield link
    finally:
      with contextlib.suppress(EnvError):
        if link is not None:
          link.release()
          link.close(time.monotonic() + CLOSE_SECONDS)
      hub.close()

  def state(self) -> None:
    """Returns None: gymnasium environments cannot be saved."""
    return None

  def restore(self, state: dict) -> None:
    raise EnvError(
      'gymnasium environments have no state to restore.', self._where
    )

  def stats(self) -> dict[str, float]:
    """Restarts since the beginning, of all environments together."""
    return {'env/restarts': float(self._restarts)}

  def _action(self, key, action):
    dtype, shape = self._taken[key]
    if key not in action:
      raise EnvError(
        f'the action {key!r} is missing, got {sorted(action)}.', self._where
      )
    value = np.asarray(action[key], dtype)
    if value.shape != shape:
      raise EnvError(
        f'the action {key!r} has the shape {value.shape}, expected {shape}.',
        self._where,
      )
    return value

  def _result(self, answers: Sequence[Answer]) -> dict[str, np.ndarray]:
    obs, reward, sound = self._batch.join(answers)
    first, (last, terminal, self.cut) = self._was_last, _ends(answers)
    self._was_last = last.copy()
    if not sound:
      self._check(obs, 'observation')
      self._check({'reward': reward}, 'signal')
      self._warn_of_bounds(obs)
    return {
      **obs,
      'reward': reward,
      'is_first': first,
      'is_last': last,
      'is_terminal': terminal,
    }

  def _check(self, values, kind):
    try:
      check_finite(values, kind, self._steps)
    except EnvError as error:
      raise EnvError(str(error), self._where) from None

  def _warn_of_bounds(self, values):
    """Warns once of each key that leaves the bounds of its space.

    Only floats can; they are kept as they are, so nothing is lost.
    """
    for key in tuple(self._bounded):
      space, value = self._flat[key], values[key]
      if found := rules.outside(space, value):
        number, rows = found
        self._bounded.remove(key)
        self._batch.forget(key)
        warn_once(
          f'{self._where}: observation {key!r} of environment '
          f'{int(rows.argmax())} is {number} at step {self._steps}, which is '
          f'not in its space {space}. {rules.KEPT}',
          f'{self._where}: {key}',
        )

  def _report(self, index: int, fault: Fault) -> None:
    self._restarts += fault.restarts
    place = f'environment {index} at step {self._steps}'
    if fault.fatal and fault.in_a_row > 1:
      raise EnvError(
        f'{place}: crashed {fault.in_a_row} times in a row, giving up. '
        f'The last time: {fault.message}',
        self._where,
      )
    if fault.fatal:
      raise EnvError(f'{place}: {fault.message}', self._where)
    _logger.warning(RESTARTED, self._where, place, fault.message)


def _ends(answers: Sequence[Answer]) -> np.ndarray:
  """Flags of episodes that are over, terminal, and cut: (3, W)."""
  ends = np.zeros((3, len(answers)), bool)
  # Few steps have an end, and to look for one takes less time than arrays.
  if any([answer.terminated or answer.truncated for answer in answers]):
    ends[:] = np.transpose(
      [(x.terminated or x.truncated, x.terminated, x.cut) for x in answers]
    )
  return ends


def _has_bounds(space: gymnasium.Space) -> bool:
  floats = isinstance(space, gymnasium.spaces.Box) and space.dtype.kind == 'f'
  return floats and bool(np.isfinite([space.low, space.high]).any())
