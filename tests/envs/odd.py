"""Environments that are wrong, odd or rude, for whole runs."""

import os
import tempfile

import gymnasium
import numpy as np
from gymnasium import spaces


class Plain(gymnasium.Env):
  """Nothing is wrong with it: episodes of 6 steps of reward 1."""

  observation_space = spaces.Box(-1, 1, (3,), np.float32)
  action_space = spaces.Discrete(3)
  length = 6

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.time = 0
    return self.observe(), {}

  def step(self, action):
    self.time += 1
    return self.observe(), 1.0, self.time >= self.length, False, {}

  def observe(self):
    self.observation_space.seed(self.time)
    return self.observation_space.sample()


class FloatImage(Plain):
  observation_space = spaces.Box(0, 255, (16, 16, 3), np.uint8)

  def observe(self):
    return np.full((16, 16, 3), 0.25)


class BrightImage(FloatImage):
  def observe(self):
    return np.full((16, 16, 3), 300)


class WrongClass(Plain):
  observation_space = spaces.Discrete(3)

  def observe(self):
    return 3


class WrongClasses(Plain):
  observation_space = spaces.MultiDiscrete([2, 3])

  def observe(self):
    return np.array([2, 0])


class OldStep(Plain):
  def step(self, action):
    obs, reward, end, _, info = super().step(action)
    return obs, reward, end, info


class NoReward(Plain):
  def step(self, action):
    obs, _, *rest = super().step(action)
    return obs, None, *rest


class Broken(Plain):
  def step(self, action):
    raise RuntimeError('the engine does not start')


class CutOnce(Plain):
  """The first object's first episode is cut after three steps."""

  made = 0

  def __init__(self):
    type(self).made += 1
    self.first = self.made == 1

  def step(self, action):
    if self.first and self.time == 3:
      raise RuntimeError('connection lost')
    return super().step(action)


class CutAlways(Plain):
  def step(self, action):
    if self.time == 3:
      raise RuntimeError('connection lost')
    return super().step(action)


class Endless(Plain):
  length = 10**12


class TwoChannels(Plain):
  observation_space = spaces.Box(0, 255, (16, 16, 2), np.uint8)


class Frames(Plain):
  """A stack of four small colour images, channels first, as floats."""

  observation_space = spaces.Box(0, 1, (4, 3, 16, 16), np.float32)


class OddNames(Plain):
  observation_space = spaces.Dict(
    {
      name: spaces.Box(-1, 1, shape, np.float32)
      for name, shape in {
        'consec': (1,),
        'a|b': (2,),
        'a b%7C': (),
        'a/b': (1,),
        'a_b': (1,),
        'log/forces': (3,),
        'log/done': (1,),
      }.items()
    }
  )


class ClosesBadly(Plain):
  def close(self):
    raise OSError('the window is gone')


class Moves(Plain):
  def __init__(self):
    os.chdir(tempfile.mkdtemp())
