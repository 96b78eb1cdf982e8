"""Environments that each have a worker, replaced one by one if they are lost.

A worker is reached by a `Link`: to this process itself (`local`), a process of
this machine (`subprocesses`) or a Ray actor of a cluster (`ray_actors`).
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np

from dreamer_nnx import streams
from dreamer_nnx.envs.faults import EnvError, Fault, describe
from dreamer_nnx.envs.host import Answer, Host, Spaces
from dreamer_nnx.streams import Stream

Make = Callable[..., gymnasium.Env]
# Seconds for all workers together to close their environments.
CLOSE_SECONDS = 5.0
# Seconds for a worker itself to start, before its environment is made.
START_SECONDS = 600.0
# Seconds that a worker is given beyond its time, for the clock went on while
# this process was suspended, and perhaps the worker with it.
MARGIN = 0.3


class WorkerLost(Exception):
  """A worker is gone."""


class WorkerHung(WorkerLost):
  """A worker does not answer."""


class Link(Protocol):
  """A worker with a `Host`.

  `hint` is what to look at if it dies at its start. One whose environment is in
  this process has `step`, which takes an action and returns the answer.
  """

  hint: str

  def ask(self, name: str, *arguments: Any) -> None:
    """Asks the host to call one of its methods, without waiting for the result.

    It waits for the worker to run, which is not the environment's time.
    """
    ...

  def receive(self) -> Any:
    """Waits for what the call returns, or raises what it raised.

    Raises:
      WorkerLost: The worker is gone.
      WorkerHung: It has not answered within the time that it has.
    """
    ...

  def discard(self) -> str:
    """Frees what is left of a lost worker; returns how it ended."""
    ...

  def release(self) -> None:
    """Asks the worker to close its environment, without waiting."""
    ...

  def close(self, deadline: float) -> list[str] | None:
    """Waits for `release` and ends the worker; kills it at the monotonic time.

    Returns:
      What is to be told of it, a line each.
    """
    ...


class Hub(Protocol):
  """A starter of workers of one kind.

  One whose environments are in this process has `together`, which makes one
  function, of all actions, of the steps of all environments.
  """

  def connect(self, make: Callable[[], Host], index: int) -> Link: ...

  def close(self) -> list[str] | None:
    """Ends what the workers share; returns lines to tell the user."""
    ...


class Fleet:
  """W environments, stepped together.

  Args:
    makers: One for each environment.
    limit: Crashes, and losses, of one worker in a row that are survived.
    notify: Called with every crash or loss, and the index, at once; it
      raises to end the run.
  """

  def __init__(
    self,
    hub: Hub,
    makers: Sequence[Make],
    limit: int,
    notify: Callable[[int, Fault], None],
  ) -> None:
    self._hub, self._notify = hub, notify
    self._workers: list[Worker] = []
    # Faults of the step in hand; and whether any step succeeded so far.
    self._faults: list[tuple[int, Fault]] = []
    self._begun = self._stepped = False
    spaces = None
    try:
      for index, maker in enumerate(makers):
        host = functools.partial(Host, maker, limit)
        start = functools.partial(_connect, hub, host, index)
        told = functools.partial(self._note, index)
        self._workers.append(Worker(start, limit, told, spaces))
        spaces = spaces or self._workers[0].look()
    except BaseException:
      self.close()
      raise
    self.spaces: Spaces = spaces
    steps = [worker.step for worker in self._workers]
    self._together = hub.together(steps) if hasattr(hub, 'together') else None

  def reset(self, seeds: Sequence[int]) -> list[Answer]:
    """Begins an episode in each environment; returns their first steps."""
    for worker, seed in zip(self._workers, seeds, strict=True):
      worker.ask_reset(seed)
    return self._receive()

  def step(self, actions: Sequence[Any]) -> list[Answer]:
    """Takes an action for each environment; returns what each answers.

    The step after the last one of an episode is the reset.

    Raises:
      EnvError: No environment could take its first step.
    """
    if self._together:
      return self._judged(self._together(actions))
    for worker, action in zip(self._workers, actions, strict=True):
      worker.ask_step(action)
    return self._receive()

  def close(self) -> list[str]:
    """Ends every worker; those that do not answer are killed.

    Returns:
      What went wrong, a line each; nothing is raised.
    """
    workers, self._workers = self._workers, []
    deadline = time.monotonic() + CLOSE_SECONDS
    closers = [
      *(worker.release for worker in workers),
      *(functools.partial(worker.close, deadline) for worker in workers),
    ]
    said = []
    for close in closers:
      try:
        said += close() or []
      except Exception as error:
        said.append(f'close raised {describe(error)}')
    return said + (self._hub.close() or [])

  def _receive(self):
    return self._judged([worker.receive() for worker in self._workers])

  def _judged(self, answers: list[Answer]) -> list[Answer]:
    """Tells of the faults of a step."""
    if not self._stepped:
      self._check_first_step(answers)
    faults, self._faults = self._faults, []
    for index, fault in faults:
      self._notify(index, fault)
    return answers

  def _check_first_step(self, answers: Sequence[Answer]) -> None:
    """Ends the run if every environment failed in its first step."""
    if not any(answer.cut for answer in answers):
      self._stepped, self._begun = self._begun, True
      return
    if all(answer.cut for answer in answers):
      index, fault = self._faults[0]
      fault = dataclasses.replace(fault, fatal=True, in_a_row=1)
      self._notify(index, fault)
    self._stepped = True

  def _note(self, index: int, fault: Fault) -> None:
    if fault.fatal or not self._begun:
      self._notify(index, fault)
    else:
      self._faults.append((index, fault))


class Worker:
  """One environment behind a link, which is replaced if it is lost.

  That ends the episode: the last good observation again, reward 0, truncated.
  The next step is then the reset of the new environment.

  Args:
    start: Connects to a new worker, whose environment has these spaces, and
      is made from this seed if it is in place of another.
    limit: Losses in a row that are survived.
    notify: Called with every fault; it raises to end the run.
    spaces: None for whatever the environment has.
  """

  def __init__(
    self,
    start: Callable[[Spaces | None, int | None], Link],
    limit: int,
    notify: Callable[[Fault], None],
    spaces: Spaces | None,
  ) -> None:
    self._start, self._limit, self._notify = start, limit, notify
    self._spaces = spaces
    self._lost = 0
    self._over = self._resetting = False
    self._obs: dict[str, np.ndarray] = {}
    # The seed of the last reset that had one, and that of the next.
    self._seed, self._next_seed = 0, None
    self._link: Link | None = start(spaces, None)

  def look(self) -> Spaces:
    """Makes the environment, and returns its spaces.

    Raises:
      EnvError: The worker died.
      Exception: The one that making it raised.
    """
    while self._spaces is None:
      self._link.ask('start')
      try:
        self._spaces = self._link.receive()
      except WorkerHung:
        self._replace()
      except WorkerLost:
        hint = self._link.hint
        raise EnvError(f'{self._discard()} as it started. {hint}') from None
    return self._spaces

  def ask_reset(self, seed: int | None) -> None:
    """Asks for a new episode; `receive` returns its first step."""
    self._seed = self._seed if seed is None else seed
    self._next_seed, self._resetting = None, True
    self._link.ask('reset', seed)

  def step(self, action: Any) -> Answer:
    """Takes a step, or resets if the episode is over, without a worker."""
    if self._over:
      self.ask_reset(self._next_seed)
      return self.receive()
    answer = self._link.step(action)
    self._over = answer.terminated or answer.truncated
    if answer.fault:
      self._notify(answer.fault)
    return answer

  def ask_step(self, action: Any) -> None:
    """Asks for a step, or for the reset if the episode is over."""
    if self._over:
      self.ask_reset(self._next_seed)
      return
    self._resetting = False
    self._link.ask('step', action)

  def receive(self) -> Answer:
    """Waits for the answer; a worker that is lost is replaced."""
    while True:
      try:
        answer = self._link.receive()
        break
      except WorkerLost:
        self._replace()
        if not self._resetting:
          self._over = True
          return Answer(self._obs, truncated=True, cut=True)
        self.ask_reset(self._next_seed)
    self._over = answer.terminated or answer.truncated
    self._obs = answer.obs
    if answer.fault:
      self._notify(answer.fault)
    elif self._over:
      self._lost = 0
    return answer

  def release(self) -> None:
    """Asks the worker to close its environment, without waiting."""
    if self._link is not None:
      self._link.release()

  def close(self, deadline: float) -> list[str]:
    """Ends the worker, at the monotonic time `deadline` by force."""
    link, self._link = self._link, None
    return (link.close(deadline) or []) if link is not None else []

  def _replace(self):
    message = self._discard()
    self._lost += 1
    fatal = self._lost > self._limit
    self._notify(Fault(message, 0 if fatal else 1, self._lost, fatal))
    # Not the seed of the episode that has led to the loss.
    self._next_seed = streams.seed(self._seed, Stream.REPLACEMENT)
    self._link = self._start(self._spaces, self._next_seed)

  def _discard(self):
    link, self._link = self._link, None
    return link.discard()


def _connect(
  hub: Hub,
  host: Callable[..., Host],
  index: int,
  spaces: Spaces | None,
  again: int | None,
) -> Link:
  return hub.connect(functools.partial(host, spaces, again=again), index)


def remaining(asked: float, timeout: float) -> float | None:
  """Seconds to wait for what was asked at a monotonic time; None for ever."""
  if not timeout:
    return None
  return max(asked + timeout - time.monotonic(), MARGIN)
