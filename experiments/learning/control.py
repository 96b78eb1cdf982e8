"""Tasks of dm_control that are seen by their state, as gymnasium has them."""

import gymnasium
import numpy as np
from gymnasium import spaces


class Control(gymnasium.Env):
  """A task of the suite; nothing is drawn.

  Args:
    domain, task: Its names in dm_control's suite.
    seed: Of the task's own random numbers, which a reset with a seed replaces.
  """

  def __init__(self, domain: str, task: str, seed: int):
    from dm_control import suite

    self._env = suite.load(domain, task, task_kwargs={'random': seed})
    self.observation_space = spaces.Dict(
      {
        name: spaces.Box(-np.inf, np.inf, spec.shape, np.float32)
        for name, spec in self._env.observation_spec().items()
      }
    )
    spec = self._env.action_spec()
    low, high = np.float32(spec.minimum), np.float32(spec.maximum)
    self.action_space = spaces.Box(low, high, spec.shape, np.float32)

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    if seed is not None:
      self._env.task.random.seed(seed % 2**32)
    return self._observed(self._env.reset()), {}

  def step(self, action):
    step = self._env.step(action)
    terminated = bool(step.last() and step.discount == 0)
    truncated = bool(step.last() and not terminated)
    return self._observed(step), float(step.reward), terminated, truncated, {}

  def _observed(self, step):
    return {k: np.float32(v) for k, v in step.observation.items()}


def make(domain: str, task: str, seed: int) -> Control:
  """Makes a task of the suite."""
  return Control(domain, task, seed % 2**32)
