"""A game: walk to the right end of a line."""

import gymnasium
import numpy as np

from dreamer_nnx.schema import Count
from dreamer_nnx.slots import ENV

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


class Line(gymnasium.Env):
  """One step left or right at a time; a reward of 1 at the right end.

  Args:
    length: Places of the line.
    limit: Steps after which an episode is cut off.
  """

  def __init__(self, length, limit):
    self.length, self.limit = length, limit
    box = gymnasium.spaces.Box(0, 1, (2,), np.float32)
    self.observation_space = gymnasium.spaces.Dict({'place': box})
    self.action_space = gymnasium.spaces.Discrete(2)

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.place = int(self.np_random.integers(self.length - 1))
    self.time = 0
    return self._seen(), {}

  def step(self, action):
    self.time += 1
    self.place = int(np.clip(self.place + 2 * action - 1, 0, self.length - 1))
    done = self.place == self.length - 1
    return self._seen(), float(done), done, self.time >= self.limit, {}

  def _seen(self):
    share = self.place / (self.length - 1)
    return {'place': np.array([share, 1 - share], np.float32)}


@ENV.register('mine')
def mine(*, length: Count = 8, limit: Count = 32) -> gymnasium.Env:
  """Makes one environment; the toolkit steps as many as it needs.

  Args:
    length: Places of the line, two at least.
    limit: Steps after which an episode is cut off.
  """
  return Line(max(2, length), limit)
