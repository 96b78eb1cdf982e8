"""Around another vector of environments: what a wrapper passes on."""

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dreamer_nnx import interface
from dreamer_nnx.contracts import VectorEnv
from dreamer_nnx.interface import Interface


def is_whole(value: Any) -> bool:
  """Tells whether a value is a whole number, which a flag is not."""
  return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def innermost(envs: VectorEnv) -> VectorEnv:
  """The vector of environments within all wrappers."""
  while isinstance(envs, WrappedVectorEnv):
    envs = envs._env
  return envs


class WrappedVectorEnv:
  """A `VectorEnv` that is another one, but for what a subclass changes."""

  def __init__(self, env: VectorEnv) -> None:
    self._env = env
    self.num_envs = env.num_envs
    self.obs_space, self.action_space = env.obs_space, env.action_space

  @property
  def cut(self) -> np.ndarray:
    """Flags (W,) of the episodes that a fault ended in the last step."""
    return getattr(self._env, 'cut', np.zeros(self.num_envs, bool))

  @property
  def interface(self) -> Interface:
    """Spaces and units of the environments themselves."""
    return interface.of(self._env)

  @property
  def max_restarts(self) -> int:
    """Number of crashes in a row that the run survives."""
    return getattr(self._env, 'max_restarts', 0)

  @property
  def episodes(self) -> int:
    """Number of episodes that training has; 0 where it is not told."""
    found = getattr(self._env, 'episodes', 0)
    return int(found) if is_whole(found) else 0

  @property
  def repeat(self) -> int:
    """Simulated steps of an action; no attribute where they are not told."""
    return int(self._env.repeat)

  @property
  def joined(self) -> Callable[[Sequence[Mapping[str, float]]], Mapping]:
    """Their way to join stats; no attribute where they have none."""
    return self._env.joined

  def reset(self) -> dict[str, np.ndarray]:
    return self._env.reset()

  def step(self, action: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return self._env.step(action)

  def close(self) -> None:
    self._env.close()

  def state(self) -> dict | None:
    return self._env.state()

  def restore(self, state: dict) -> None:
    self._env.restore(state)

  def stats(self) -> dict[str, float]:
    return self._env.stats()
