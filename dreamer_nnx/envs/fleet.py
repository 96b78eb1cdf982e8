"""Environments that each have a worker, replaced one by one if they are lost.

A worker is reached by a `Link`: a process of this machine (`processes`) or a
Ray actor of a cluster (`actors`).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import gymnasium
import numpy as np

from dreamer_nnx import spaces, streams
from dreamer_nnx.envs.faults import Fault
from dreamer_nnx.streams import Stream

Make = Callable[[], gymnasium.Env]


class Lost(Exception):
  """A worker is gone."""


class Answer(NamedTuple):
  """What one environment answers to one step or reset."""

  obs: dict[str, np.ndarray]
  reward: float
  terminated: bool
  truncated: bool
  fault: Fault | None


class Link(Protocol):
  """A worker with one environment; it resets itself on the step after a last.

  `reset` and `step` ask without waiting, `receive` waits for the answer. All
  three raise `Lost` where the worker is gone.
  """

  obs_space: gymnasium.spaces.Dict

  def reset(self, seed: int) -> None: ...
  def step(self, action: Mapping[str, np.ndarray]) -> None: ...
  def receive(self) -> Answer: ...

  def bury(self) -> str:
    """Frees what is left of a lost worker; says how it ended."""
    ...

  def close(self) -> None: ...


class FleetVectorEnv:
  """The part of gymnasium's vector interface that `GymVectorEnv` uses.

  Args:
    makers: One for each environment; each makes a `Restart`, cheaply.
    limit: Losses of one worker in a row that are survived.
    connect: Starts a worker.
  """

  def __init__(
    self, makers: Sequence[Make], limit: int, connect: Callable[[Make], Link]
  ) -> None:
    self._workers: list[Worker] = []
    try:
      for maker in makers:
        start = functools.partial(connect, maker)
        self._workers.append(Worker(start, limit))
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
      worker.send_step({k: v[index : index + 1] for k, v in action.items()})
    return self._receive()

  def close(self) -> None:
    """Ends every worker; those that do not answer are killed."""
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


class Worker:
  """One environment behind a link, which is replaced if it is lost.

  That ends the episode: the last good observation again, reward 0, truncated.
  The next step is then the reset of the new environment.
  """

  def __init__(self, start: Callable[[], Link], limit: int) -> None:
    self._start = start
    self._limit = limit
    self._losses = 0
    self._fresh = self._resetting = False
    self._seed = 0
    self._sent = False
    self._link: Link | None = start()
    flat = self._link.obs_space.spaces
    self._obs = {k: spaces.example(v) for k, v in flat.items()}

  def send_reset(self, seed: int) -> None:
    """Asks for a new episode; `receive` returns its first step."""
    self._seed = seed
    self._resetting = True
    self._send(self._link.reset, seed)

  def send_step(self, action: Mapping[str, np.ndarray]) -> None:
    """Asks for a step with (1, ...) actions, or for the overdue reset."""
    if self._fresh:
      # Not the seed of the episode that has led to the loss.
      self.send_reset(streams.seed(self._seed, Stream.LOSS))
      return
    self._resetting = False
    self._send(self._link.step, action)

  def receive(self) -> Answer:
    """Waits for the answer; a worker that is lost is replaced."""
    losses = []
    while True:
      try:
        answer = self._wait()
        break
      except Lost:
        losses.append(self._replace())
        if losses[-1].fatal or not self._resetting:
          answer = Answer(self._obs, 0.0, False, not self._resetting, None)
          break
        self.send_reset(streams.seed(self._seed, Stream.LOSS))
    self._obs = answer.obs
    fault = _merge(losses, answer.fault)
    if fault is None and (answer.terminated or answer.truncated):
      self._losses = 0
    return answer._replace(fault=fault)

  def close(self) -> None:
    """Closes the environment and ends the worker."""
    link, self._link = self._link, None
    if link is not None:
      link.close()

  def _send(self, call, argument):
    try:
      call(argument)
      self._sent = True
    except Lost:
      self._sent = False

  def _wait(self) -> Answer:
    if not self._sent:
      raise Lost
    answer = self._link.receive()
    self._fresh = False
    return answer

  def _replace(self) -> Fault:
    message = self._link.bury()
    self._link = None
    self._losses += 1
    self._fresh = True
    fatal = self._losses > self._limit
    if not fatal:
      self._link = self._start()
    return Fault(message, 0 if fatal else 1, self._losses, fatal)


def _merge(losses: list[Fault], fault: Fault | None) -> Fault | None:
  if not losses:
    return fault
  total = sum(f.restarts for f in losses) + (fault.restarts if fault else 0)
  worst = fault if fault and fault.fatal else losses[-1]
  return Fault(worst.message, total, worst.in_a_row, worst.fatal)
