"""A small game with images, labels and masks, for agents at toy size."""

import gymnasium
import numpy as np

LENGTH = 6
ACTIONS = 3
SIDES = (16, 16)


class Walk(gymnasium.Env):
  """Three ways to go on a line; some cost something, some are not allowed.

  Args:
    image: Shows the place as an image, too.
    labels: Observes `label/cost`.
    masks: Observes `mask/action`.
    shown: Observes `label/demonstration`.
  """

  def __init__(self, image: bool, labels: bool, masks: bool, shown: bool):
    box = gymnasium.spaces.Box
    space = {'place': box(-1, 1, (2,), np.float32)}
    if image:
      space['image'] = box(0, 255, (*SIDES, 3), np.uint8)
    if labels:
      space['label/cost'] = box(0, 1, (), np.float32)
    if masks:
      space['mask/action'] = box(0, 1, (ACTIONS,), np.float32)
    if shown:
      space['label/demonstration'] = box(0, 1, (), np.float32)
    self.observation_space = gymnasium.spaces.Dict(space)
    self.action_space = gymnasium.spaces.Discrete(ACTIONS)

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.place, self.time = int(self.np_random.integers(5)), 0
    return self._seen(0.0), {}

  def step(self, action):
    self.time += 1
    self.place = (self.place + int(action) - 1) % 5
    cost, done = float(action == 2), self.time >= LENGTH
    return self._seen(cost), float(self.place == 0), False, done, {}

  def _seen(self, cost: float) -> dict[str, np.ndarray]:
    angle = 2 * np.pi * self.place / 5
    mask = np.ones(ACTIONS, np.float32)
    mask[self.place % ACTIONS] = 0
    seen = {
      'place': np.array([np.cos(angle), np.sin(angle)], np.float32),
      'image': np.full((*SIDES, 3), 50 * self.place, np.uint8),
      'label/cost': np.float32(cost),
      'mask/action': mask,
      'label/demonstration': np.float32(self.place % 2),
    }
    return {key: seen[key] for key in self.observation_space.spaces}


def make(
  image: bool = False,
  labels: bool = False,
  masks: bool = False,
  shown: bool = False,
) -> Walk:
  """Makes one game, for `config.env.custom.make`."""
  return Walk(image, labels, masks, shown)
