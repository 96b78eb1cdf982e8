"""A small environment of dm_env: count up to five."""

import dm_env
import numpy as np
from dm_env import specs


class Counting(dm_env.Environment):
  """Rewards each step up; over at five, cut off after twenty steps."""

  def __init__(self, seed: int = 0) -> None:
    self._rng = np.random.default_rng(seed)
    self._count = self._steps = 0

  def observation_spec(self) -> dict[str, specs.Array]:
    return {
      'count': specs.BoundedArray((), np.float32, -5, 5),
      'noise': specs.Array((3,), np.float64),
    }

  def action_spec(self) -> specs.DiscreteArray:
    return specs.DiscreteArray(2)

  def reset(self) -> dm_env.TimeStep:
    self._count = self._steps = 0
    return dm_env.restart(self._observation())

  def step(self, action: int) -> dm_env.TimeStep:
    self._steps += 1
    self._count = max(-5, self._count + (1 if action else -1))
    observation, reward = self._observation(), float(action)
    if self._count == 5:
      return dm_env.termination(reward, observation)
    if self._steps == 20:
      return dm_env.truncation(reward, observation)
    return dm_env.transition(reward, observation)

  def _observation(self):
    noise = self._rng.normal(size=3)
    return {'count': np.float32(self._count), 'noise': noise}


def make(seed: int) -> Counting:
  """Makes one, with noise of its own."""
  return Counting(seed)
