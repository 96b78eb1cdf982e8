"""A world that does nothing, and notes when it is asked to."""

import time
from typing import ClassVar

import gymnasium
import numpy as np

OBSERVED = {
  'vector': gymnasium.spaces.Box(-1, 1, (4,), np.float32),
  'image': gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8),
}


class World(gymnasium.Env):
  """Returns random observations, for episodes of 1000 steps."""

  action_space = gymnasium.spaces.Discrete(2)
  # Monotonic times at which any of them was stepped or reset.
  times: ClassVar[list[float]] = []

  def __init__(self, observed: str = 'vector'):
    self.observation_space = OBSERVED[observed]
    self._steps = 0

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    World.times.append(time.monotonic())
    self._steps = 0
    return self._observe(), {}

  def step(self, action):
    World.times.append(time.monotonic())
    self._steps += 1
    return self._observe(), 0.0, False, self._steps == 1000, {}

  def _observe(self) -> np.ndarray:
    space = self.observation_space
    values = self.np_random.random(space.shape) * space.high
    return values.astype(space.dtype)
