"""Workers that are Ray actors, on one machine or all of a cluster.

They join the cluster that `RAY_ADDRESS` names or that was started on this
machine; without one, Ray starts on this machine alone.
"""

import contextlib
import copy
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from dreamer_nnx.envs.faults import EnvError, describe
from dreamer_nnx.envs.fleet import (
  START_SECONDS,
  WorkerHung,
  WorkerLost,
  remaining,
)
from dreamer_nnx.envs.host import Answer, Host, call, received
from dreamer_nnx.notices import Keeper

HINT = (
  'Is the cluster of RAY_ADDRESS running, with this package on every machine?'
)


def join(asked: str, **options: Any) -> Any:
  """Imports the package ray, and joins the cluster; returns the package.

  Args:
    asked: What asks for it, for errors.
    options: Of `ray.init`, where this process has not joined yet.

  Raises:
    EnvError: Ray is missing or cannot start.
  """
  try:
    import ray
  except ModuleNotFoundError as error:
    raise EnvError(
      f"{asked} needs the package ray: pip install 'dreamer-nnx[ray]'."
    ) from error
  try:
    if not ray.is_initialized():
      ray.init(include_dashboard=False, logging_level='warning', **options)
  except Exception as error:  # Of whatever class, as Ray does not say.
    raise EnvError(
      f'{asked}: Ray did not start: {describe(error)}. {HINT}'
    ) from error
  return ray


class ActorHub:
  """Starts actors; see `fleet.Hub`.

  Raises:
    EnvError: Ray is missing or cannot start.
  """

  def __init__(self, timeout: float, where: str) -> None:
    del where
    self._timeout, self._ray = timeout, join("workers = 'ray'")

  def connect(self, make: Callable[[], Host], index: int) -> 'Actor':
    del index
    return Actor(make, self._timeout, self._ray)

  def close(self) -> None:
    """Leaves Ray as it is, for others."""


class Remote:
  """The object that an actor holds."""

  def __init__(self, make: Callable[[], Host]) -> None:
    self._keeper = Keeper()
    self._host = make()

  def ready(self) -> None:
    """Returns once the actor runs."""

  def ask(self, name: str, *arguments: Any) -> Any:
    # Arrays from Ray's memory are read-only.
    given = copy.deepcopy(arguments)
    return call(self._host, name, given, self._keeper)


class Actor:
  """A link to an environment in an actor; see `fleet.Link`."""

  hint = HINT

  def __init__(
    self, make: Callable[[], Host], timeout: float, ray: Any
  ) -> None:
    self._ray, self._timeout = ray, timeout
    # ActorHub of this kind need a core to be placed, and none to stay.
    remote = ray.remote(Remote).options(scheduling_strategy='SPREAD')
    self._actor = remote.remote(make)
    self._answer, self._asked, self._name = None, time.monotonic(), ''
    self._ready, self._end = False, ''

  def ask(self, name: str, *arguments: Any) -> None:
    if not self._ready:
      self._begin()
    self._name, self._asked = name, time.monotonic()
    self._answer = self._actor.ask.remote(name, *arguments)

  def receive(self) -> Any:
    try:
      answer = self._wait()
    except self._ray.exceptions.GetTimeoutError as error:
      self._end = (
        f'{self._name} has not returned for {self._timeout:g} seconds '
        '(step_timeout), its actor was killed'
      )
      raise WorkerHung from error
    except self._ray.exceptions.RayError as error:
      self._end = f'its actor was lost ({str(error).splitlines()[0]})'
      raise WorkerLost from error
    answer = received(answer)
    if isinstance(answer, Answer):
      # Arrays from Ray's memory are read-only.
      obs = {key: np.array(value) for key, value in answer.obs.items()}
      return dataclasses.replace(answer, obs=obs)
    return answer

  def discard(self) -> str:
    self._ray.kill(self._actor)
    return self._end

  def release(self) -> None:
    self.ask('close')

  def close(self, deadline: float) -> None:
    # One that does not answer is killed like the others.
    with contextlib.suppress(self._ray.exceptions.RayError):
      self._get(max(0.0, deadline - time.monotonic()))
    self._ray.kill(self._actor)

  def _begin(self):
    self._ready = True
    self._answer = self._actor.ready.remote()
    # If it does not run, then what is asked of it will tell.
    with contextlib.suppress(self._ray.exceptions.RayError):
      self._get(START_SECONDS if self._timeout else None)

  def _wait(self) -> Any:
    with contextlib.suppress(self._ray.exceptions.GetTimeoutError):
      return self._get(remaining(self._asked, self._timeout))
    return self._get(remaining(self._asked, self._timeout))

  def _get(self, seconds: float | None) -> Any:
    return self._ray.get(self._answer, timeout=seconds)
