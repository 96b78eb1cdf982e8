"""Workers that are Ray actors, on one machine or all of a cluster.

They join the cluster that `RAY_ADDRESS` names or that was started on this
machine; without one, Ray starts on this machine alone.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamer_nnx.envs.faults import EnvError, describe
from dreamer_nnx.envs.fleet import Answer, Lost, Make

CLOSE_SECONDS = 5


def require() -> Any:
  """The package ray.

  Raises:
    EnvError: It is not installed.
  """
  try:
    import ray
  except ModuleNotFoundError as error:
    raise EnvError(
      "workers = 'ray' needs the package ray: pip install 'dreamer-nnx[ray]'."
    ) from error
  return ray


class Remote:
  """What an actor holds: one environment that resets itself."""

  def __init__(self, make: Make) -> None:
    self._env = make()
    self._over = False

  def space(self) -> Any:
    return self._env.observation_space

  def reset(self, seed: int | None) -> Answer:
    self._over = False
    obs, info = self._env.reset(seed=seed)
    return Answer(obs, 0.0, False, False, info.get('fault'))

  def step(self, action: Mapping[str, np.ndarray]) -> Answer:
    if self._over:
      return self.reset(None)
    obs, reward, terminated, truncated, info = self._env.step(action)
    self._over = terminated or truncated
    return Answer(obs, reward, terminated, truncated, info.get('fault'))

  def close(self) -> None:
    self._env.close()


class Actor:
  """A link to an environment in an actor; see `fleet.Link`.

  Raises:
    EnvError: Ray is missing or cannot start, or the actor died at its start.
  """

  def __init__(self, make: Make) -> None:
    self._ray = ray = require()
    try:
      if not ray.is_initialized():
        ray.init(include_dashboard=False, logging_level='warning')
      # Actors of this kind need a core to be placed, and none to stay.
      remote = ray.remote(Remote).options(scheduling_strategy='SPREAD')
      self._actor = remote.remote(make)
      self.obs_space = ray.get(self._actor.space.remote())
    except (ray.exceptions.RayError, ConnectionError, RuntimeError) as error:
      raise EnvError(
        f'a Ray actor did not start: {describe(error)}. Is the cluster of '
        'RAY_ADDRESS running, with this package on every machine?'
      ) from error
    self._answer = None
    self._error = ''

  def reset(self, seed: int) -> None:
    self._answer = self._actor.reset.remote(seed)

  def step(self, action: Mapping[str, np.ndarray]) -> None:
    single = {key: value[0] for key, value in action.items()}
    self._answer = self._actor.step.remote(single)

  def receive(self) -> Answer:
    try:
      answer = self._ray.get(self._answer)
    except self._ray.exceptions.RayError as error:
      self._error = str(error).splitlines()[0]
      raise Lost from error
    # What comes out of Ray's memory cannot be written to.
    copied = {key: np.array(value) for key, value in answer.obs.items()}
    return answer._replace(obs=copied)

  def bury(self) -> str:
    self._ray.kill(self._actor)
    return f'its actor was lost ({self._error})'

  def close(self) -> None:
    # One that does not answer is killed like the others.
    with contextlib.suppress(self._ray.exceptions.RayError):
      self._ray.get(self._actor.close.remote(), timeout=CLOSE_SECONDS)
    self._ray.kill(self._actor)
