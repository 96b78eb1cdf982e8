"""A game for components that choose continuous actions."""

import gymnasium
import numpy as np
from gymnasium import spaces

LENGTH = 24


class Point(gymnasium.Env):
  """A walk on a line to a place that is shown, for 24 steps.

  A step earns 1 minus the distance to the place that it ends at, at least 0.
  The place stays where it is.

  Args:
    onehot: The action is three numbers, of which the largest says whether to
      move to the left, not, or to the right; else one number, how far.
  """

  def __init__(self, onehot: bool = False):
    box = lambda low, high, *shape: spaces.Box(low, high, shape, np.float32)
    self.observation_space = spaces.Dict({'places': box(-1, 1, 2)})
    self.action_space = box(0, 1, 3) if onehot else box(-1, 1, 1)
    self.onehot, self.time = onehot, 0
    self.places = np.zeros(2, np.float32)

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    drawn = self.np_random.uniform(-1, 1, 2)
    self.places, self.time = drawn.astype(np.float32), 0
    return {'places': self.places.copy()}, {}

  def step(self, action):
    move = np.argmax(action) - 1.0 if self.onehot else np.clip(action[0], -1, 1)
    self.places[0] = np.clip(self.places[0] + 0.2 * move, -1, 1)
    self.time += 1
    reward = max(0.0, 1 - float(abs(self.places[0] - self.places[1])))
    return (
      {'places': self.places.copy()},
      reward,
      False,
      self.time == LENGTH,
      {},
    )
