"""Environments each of which breaks one rule, and one that breaks none."""

import os
import signal
import time
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from dreamer_nnx.notices import warn_once

LIMIT = 30


class Honest(gymnasium.Env):
  """A walk from a random place until it leaves [-1, 1], or time is up."""

  observation_space = spaces.Box(-2, 2, (2,), np.float32)
  action_space = spaces.Discrete(3)

  def __init__(self):
    self.made = 0

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.place, self.time = self.np_random.uniform(-0.5, 0.5), 0
    return self.observe(), {}

  def step(self, action):
    self.time += 1
    noise = self.np_random.normal() / 10
    self.place = np.clip(self.place + (self.move(action) + noise) / 5, -2, 2)
    out = bool(abs(self.place) > 1)
    return self.observe(), float(out), out, self.time >= LIMIT, {}

  def move(self, action):
    return int(action) - 1

  def observe(self):
    return np.array([self.place, self.time / LIMIT], np.float32)


class Outside(Honest):
  def observe(self):
    return super().observe() * 10


class Float64(Honest):
  def observe(self):
    return super().observe().astype(np.float64)


class Shape(Honest):
  def observe(self):
    return np.append(super().observe(), np.float32(1))


class Constant(Honest):
  observation_space = spaces.Dict(
    {
      'place': Honest.observation_space,
      'gravity': spaces.Box(0, 20, (1,), np.float32),
    }
  )

  def observe(self):
    return {'place': super().observe(), 'gravity': np.array([9.8], np.float32)}


class Classes(Honest):
  observation_space = spaces.Discrete(3)

  def observe(self):
    return np.int64(self.time % 4)


class Pixels(Honest):
  observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)

  def observe(self):
    return np.full((8, 8, 3), 10 * self.time, np.int64)


class Dark(Pixels):
  def observe(self):
    return np.full((8, 8, 3), self.time % 2, np.uint8)


class Extra(Constant):
  def observe(self):
    seen = {**super().observe(), 'secret': np.float32(1)}
    return seen | {'gravity': np.array([9.8 + self.time / 10], np.float32)}


class Nan(Honest):
  def observe(self):
    return super().observe() * (np.nan if self.time == 4 else 1)


class InfiniteReward(Honest):
  def step(self, action):
    obs, _, *rest = super().step(action)
    return obs, np.inf, *rest


class OldStep(Honest):
  def step(self, action):
    return super().step(action)[:4]


class Limit(Honest):
  def step(self, action):
    obs, _, _, over, info = super().step(action)
    return obs, 0.0, over, False, info


class Endless(Honest):
  observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)

  def step(self, action):
    obs, reward, *_, info = super().step(action)
    return obs, reward, False, False, info


class Single(Honest):
  def step(self, action):
    obs, reward, *_, info = super().step(action)
    return obs, reward, True, False, info


class Ignores(Honest):
  def move(self, action):
    return 0


class IgnoresOne(Honest):
  action_space = spaces.Dict(
    {'walk': spaces.Discrete(3), 'horn': spaces.Box(-1, 1, (1,), np.float32)}
  )

  def move(self, action):
    return int(action['walk']) - 1


class FixedSeed(Honest):
  def __init__(self):
    self.rng = np.random.default_rng(0)

  def reset(self, *, seed=None, options=None):
    super().reset()
    self.np_random = self.rng
    self.place, self.time = self.rng.uniform(-0.5, 0.5), 0
    return self.observe(), {}


class Unseeded(FixedSeed):
  def __init__(self):
    self.rng = np.random.default_rng()


class Reused(Honest):
  def __init__(self):
    self.buffer = np.zeros(2, np.float32)

  def observe(self):
    self.buffer[:] = super().observe()
    return self.buffer


class Raises(Honest):
  def step(self, action):
    raise RuntimeError('the engine does not start')


class RaisesTwice(Honest):
  left = 2

  def step(self, action):
    if self.time == 5 and self.left:
      type(self).left -= 1
      raise RuntimeError('connection lost')
    return super().step(action)


class FailsToReset(Honest):
  def reset(self, *, seed=None, options=None):
    raise OSError('no such level')


class Exits(Honest):
  def step(self, action):
    raise SystemExit(3)


class Dies(Honest):
  def step(self, action):
    if self.time > 10:
      os.kill(os.getpid(), signal.SIGKILL)
    return super().step(action)


class Hangs(Honest):
  def step(self, action):
    if self.time > 10:
      time.sleep(1000)
    return super().step(action)


class Slow(Honest):
  def step(self, action):
    time.sleep(0.003)
    return super().step(action)


class Mask(Honest):
  observation_space = spaces.Dict(
    {
      'place': Honest.observation_space,
      'mask/jump': spaces.Box(0, 1, (3,), np.float32),
    }
  )

  def observe(self):
    allowed = np.float32(np.arange(3) != self.time % 3)
    return {'place': super().observe(), 'mask/jump': allowed}


class Masked(Mask):
  """Honest: no action is taken that it does not allow."""

  observation_space = spaces.Dict(
    {
      'place': Honest.observation_space,
      'mask/action': spaces.Box(0, 1, (3,), np.float32),
    }
  )

  def observe(self):
    seen = super().observe()
    return {'place': seen['place'], 'mask/action': seen['mask/jump']}


class Strict(Masked):
  """Honest: raises where an action is taken that it does not allow."""

  def step(self, action):
    if int(action) == self.time % 3:
      raise ValueError('no such move')
    return super().step(action)


class Forced(Masked):
  """Honest: its masks allow one action at a time."""

  def observe(self):
    allowed = np.float32(np.arange(3) == self.time % 3)
    return super().observe() | {'mask/action': allowed}


class OneClass(Honest):
  """Honest: there is nothing to choose."""

  action_space = spaces.Discrete(1)


class Numbers(Honest):
  """Honest: numbers are those of Python, or for the loggers alone."""

  number = spaces.Box(-np.inf, np.inf, (), np.float32)
  observation_space = spaces.Dict(
    {
      'place': Honest.observation_space,
      'height': number,
      'count': number,
      'log/steps': number,
      'log': spaces.Dict({'share': number}),
    }
  )

  def observe(self):
    numbers = {'height': float(self.place), 'count': self.time}
    logged = {'log/steps': np.int64(self.time), 'log': {'share': self.place}}
    return {'place': super().observe(), **numbers, **logged}


class Paced(Honest):
  """Honest: notes the times of the steps of each episode."""

  episodes: ClassVar = []

  def reset(self, **given):
    self.times = []
    self.episodes.append(self.times)
    return super().reset(**given)

  def step(self, action):
    self.times.append(time.monotonic())
    return super().step(action)


class Lowest(Honest):
  """Raises after many lowest actions in a row, which chance does not give."""

  low = 0

  def step(self, action):
    self.low = 0 if action else self.low + 1
    if self.low > 12:
      raise ValueError('it is against the wall')
    return super().step(action)


class SecondRaises(Honest):
  """The second object that is made raises."""

  count = 0

  def __init__(self):
    SecondRaises.count += 1
    self.number = SecondRaises.count

  def step(self, action):
    if self.number == 2 and self.time == 3:
      raise OSError('the port is taken')
    return super().step(action)


class Notices(Honest):
  def step(self, action):
    warn_once(f'A wheel of {os.getpid()} slips.', 'the wheel')
    return super().step(action)


class Others(Honest):
  """Each object has other spaces."""

  count = 0

  def __init__(self):
    Others.count += 1
    shape = (1 + Others.count,)
    self.observation_space = spaces.Box(-2, 2, shape, np.float32)

  def observe(self):
    return np.zeros(self.observation_space.shape, np.float32)


class Vector:
  """A vector of walks that breaks nothing."""

  def __init__(self, *, num_envs, seed):
    self.num_envs, self.seed = num_envs, seed
    self.obs_space = {'place': spaces.Box(-9, 9, (1,), np.float32)}
    self.action_space = {'action': spaces.Discrete(3)}

  def reset(self):
    rows = range(self.num_envs)
    self.rngs = [np.random.default_rng([self.seed, row]) for row in rows]
    self.place = np.array([rng.uniform(-1, 1) for rng in self.rngs])
    self.time, self.last = 0, np.zeros(self.num_envs, bool)
    return self.result(True)

  def step(self, action):
    if self.time == LIMIT:
      self.time = 0
      self.place = np.array([rng.uniform(-1, 1) for rng in self.rngs])
      return self.result(True)
    self.time += 1
    self.place = np.clip(self.place + (action['action'] - 1) / 5, -8, 8)
    return self.result(False)

  def result(self, first):
    flags = lambda x: np.full(self.num_envs, x)
    return {
      'place': self.place[:, None].astype(np.float32),
      'reward': np.zeros(self.num_envs, np.float32) + (not first),
      'is_first': flags(first),
      'is_last': flags(self.time == LIMIT),
      'is_terminal': flags(False),
    }

  def close(self):
    pass

  def state(self):
    return None

  def restore(self, state):
    pass

  def stats(self):
    return {}


class StrictVector(Vector):
  """Honest: masks, and a state that it goes on from."""

  def __init__(self, *, num_envs, seed):
    super().__init__(num_envs=num_envs, seed=seed)
    self.obs_space['mask/action'] = spaces.Box(0, 1, (3,), np.float32)

  def allowed(self):
    rows = np.arange(self.num_envs)[:, None]
    return (np.arange(3) + rows) % 3 != self.time % 3

  def step(self, action):
    taken = self.allowed()[np.arange(self.num_envs), action['action']]
    assert taken.all() or self.time == LIMIT
    return super().step(action)

  def result(self, first):
    return super().result(first) | {'mask/action': np.float32(self.allowed())}

  def state(self):
    rngs = [rng.bit_generator.state for rng in self.rngs]
    return {'time': self.time, 'place': self.place.tolist(), 'rngs': rngs}

  def restore(self, state):
    self.time, self.place = state['time'], np.array(state['place'])
    for rng, saved in zip(self.rngs, state['rngs'], strict=True):
      rng.bit_generator.state = saved


class Ticking(Vector):
  """Honest: steps take long, by a clock that the tests move."""

  clock = None
  seconds = 1.0

  def step(self, action):
    self.clock.pass_by(self.seconds)
    return super().step(action)


class Forever(Vector):
  def step(self, action):
    self.time = 0
    return super().step(action)


class NeverFirst(Vector):
  def step(self, action):
    return super().step(action) | {'is_first': np.zeros(self.num_envs, bool)}


class OftenFirst(Vector):
  def step(self, action):
    step, again = super().step(action), self.time == 5
    reward = step['reward'] * (not again)
    return step | {'is_first': step['is_first'] | again, 'reward': reward}


class ResetNotFirst(Vector):
  def reset(self):
    return super().reset() | {'is_first': np.zeros(self.num_envs, bool)}


class FirstReward(Vector):
  def step(self, action):
    return super().step(action) | {'reward': np.ones(self.num_envs, np.float32)}


class TerminalNotLast(Vector):
  def step(self, action):
    step = super().step(action)
    return step | {'is_terminal': ~step['is_last'] & (self.time == 5)}


class ReusedRows(Vector):
  def result(self, first):
    step = super().result(first)
    self.buffer = getattr(self, 'buffer', step['place'])
    self.buffer[:] = step['place']
    return step | {'place': self.buffer}


class ChangesActions(Vector):
  def step(self, action):
    step = super().step(action)
    action['action'][:] = 0
    return step


class Alike(Vector):
  def reset(self):
    self.seed = 0
    return super().reset()

  def __init__(self, *, num_envs, seed):
    super().__init__(num_envs=num_envs, seed=0)


class ForgetsState(Vector):
  def state(self):
    return {'time': self.time}

  def restore(self, state):
    self.time = state['time']


class OddState(ForgetsState):
  def state(self):
    return {'place': self.place}


class VectorClass(Vector):
  def __init__(self, *, num_envs, seed):
    super().__init__(num_envs=num_envs, seed=seed)
    self.obs_space['kind'] = spaces.Discrete(3)

  def result(self, first):
    kinds = np.full(self.num_envs, self.time % 5, np.int32)
    return super().result(first) | {'kind': kinds}


class VectorOutside(Vector):
  def result(self, first):
    step = super().result(first)
    return step | {'place': step['place'] + 10 * (self.time == 3)}
