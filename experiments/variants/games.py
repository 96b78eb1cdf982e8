"""A game with costs, or with actions that are not allowed."""

import gymnasium
import numpy as np
from gymnasium import spaces

PLACES, LENGTH = 6, 24


class Chain(gymnasium.Env):
  """A walk on six places in a row, for 24 steps.

  Actions 0, 1, 2 move to the left, not, to the right, and not off the ends. A
  step that ends on the last place earns 1.

  Args:
    cost: Observes `label/cost`, 1 on the last two places.
    mask: Observes `mask/action`, 0 where an action would move off an end; such
      an action raises an error.
  """

  def __init__(self, cost: bool = False, mask: bool = False):
    box = lambda low, high, *shape: spaces.Box(low, high, shape, np.float32)
    entries = {'place': box(0, 1, PLACES)}
    if cost:
      entries['label/cost'] = box(0, 1)
    if mask:
      entries['mask/action'] = box(0, 1, 3)
    self.observation_space = spaces.Dict(entries)
    self.action_space = spaces.Discrete(3)
    self.place = self.time = 0

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.place, self.time = int(self.np_random.integers(PLACES)), 0
    return self._observed(), {}

  def step(self, action):
    goal = self.place + int(action) - 1
    self.place, self.time = min(max(goal, 0), PLACES - 1), self.time + 1
    if 'mask/action' in self.observation_space.spaces and goal != self.place:
      raise ValueError(f'action {action} is not allowed at {self.place}.')
    reward = float(self.place == PLACES - 1)
    return self._observed(), reward, False, self.time == LENGTH, {}

  def _observed(self):
    every = {
      'place': np.eye(PLACES, dtype=np.float32)[self.place],
      'label/cost': np.float32(self.place >= PLACES - 2),
      'mask/action': np.float32([self.place > 0, 1, self.place < PLACES - 1]),
    }
    return {key: every[key] for key in self.observation_space.spaces}
