"""Small environments that the tests of the adapters step."""

import ctypes
import os
import signal
import subprocess
import time

import gymnasium
import numpy as np
from gymnasium import spaces

from dreamer_nnx.envs import single

WHERE = 'config.env.test'


def start(create, workers='sync', **options):
  """A pair of environments, stepped here or by workers."""
  return single.vectorize(
    create,
    single.Options(workers=workers, **options),
    num_envs=2,
    seed=0,
    where=WHERE,
  )


class Counter(gymnasium.Env):
  """Counts its steps; the observation is (episode, step) of this object.

  The reward is the step number plus ten times the action.

  Args:
    length: Steps to an episode.
    terminates: Whether its end is a termination or a truncation.
    fail_at: The step that fails, 0 for none.
    failure: How: 'raise', 'die', 'exit', 'nan', 'reward' or 'shape'. With
      'reset' every reset of this object raises but the first.
  """

  observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
  action_space = spaces.Discrete(4)

  def __init__(self, length=3, terminates=True, fail_at=0, failure='raise'):
    self.length = length
    self.terminates = terminates
    self.fail_at = fail_at
    self.failure = failure
    self.episode = 0
    self.time = 0
    self.seeds = []

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.seeds.append(seed)
    self.episode += 1
    self.time = 0
    if self.failure == 'reset' and self.episode > 1:
      raise OSError('the level is gone')
    return self._obs(), {'big': np.zeros(self.episode)}

  def step(self, action):
    self.time += 1
    if self.time == self.fail_at:
      getattr(self, f'_fail_{self.failure}', lambda: None)()
    obs, reward = self._obs(), self.time + 10.0 * int(action)
    if self.time == self.fail_at and self.failure == 'nan':
      obs[1] = np.nan
    if self.time == self.fail_at and self.failure == 'reward':
      reward = -np.inf
    if self.time == self.fail_at and self.failure == 'shape':
      obs = np.append(obs, 3)
    end = self.time == self.length
    ends = (end, False) if self.terminates else (False, end)
    return obs, reward, *ends, {}

  def _obs(self):
    return np.array([self.episode, self.time], np.float64)

  def _fail_raise(self):
    raise ZeroDivisionError('the physics broke')

  def _fail_die(self):
    os.kill(os.getpid(), signal.SIGKILL)

  def _fail_exit(self):
    raise SystemExit(3)


class Mixed(gymnasium.Env):
  """Every kind of space at once; echoes its native action as `info`."""

  observation_space = spaces.Dict(
    {
      'camera': spaces.Box(0, 255, (8, 6, 3), np.uint8),
      'body': spaces.Dict(
        {
          'joints': spaces.Box(-np.inf, np.inf, (2, 3), np.float64),
          'touch': spaces.MultiBinary(3),
        }
      ),
      'items': spaces.MultiDiscrete([3, 5], start=[1, 2]),
      'hint': spaces.Tuple(
        (spaces.Discrete(4, start=7), spaces.Box(0, 9, (), np.int64))
      ),
      'log/score': spaces.Box(-1, 1, (), np.float32),
    }
  )
  action_space = spaces.Dict(
    {
      'arm': spaces.Box(
        np.array([-2.0, 0.0]), np.array([4.0, 10.0]), (2,), np.float64
      ),
      'tools': spaces.MultiDiscrete([2, 3]),
      'switch': spaces.Discrete(3, start=-1),
    }
  )

  def __init__(self, seed=0, index=-1):
    self.seed_and_index = (seed, index)
    self.received = []

  def reset(self, *, seed=None, options=None):
    return self._obs(1), {}

  def step(self, action):
    assert self.action_space.contains(action), action
    self.received.append(action)
    return self._obs(len(self.received) + 1), 1, False, False, {}

  def _obs(self, number):
    return {
      'camera': np.full((8, 6, 3), number, np.uint8),
      'body': {
        'joints': number * np.arange(6.0).reshape(2, 3),
        'touch': np.array([1, 0, 1], np.int8),
      },
      'items': np.array([3, 2]),
      'hint': (9, np.int64(5)),
      'log/score': np.float32(0.25),
    }


class Drawn(Counter):
  """Draws its step number as a gray level."""

  render_mode = 'rgb_array'

  def render(self):
    return np.full((10, 20, 3), 10 * self.time, np.uint8)


def counter() -> gymnasium.Env:
  return Counter()


def fails(*, failure: str = 'raise', fail_at: int = 2) -> gymnasium.Env:
  return Counter(failure=failure, fail_at=fail_at)


def noted(*, results: str = '') -> gymnasium.Env:
  """Makes the folder `results`, if it is asked for one."""
  if results:
    os.makedirs(results, exist_ok=True)
  return Counter()


def number() -> int:
  return 7


def absent() -> gymnasium.Env:
  raise ImportError('no module of the simulator')


def text() -> gymnasium.Env:
  env = Counter()
  env.observation_space = spaces.Dict({'words': spaces.Text(5)})
  return env


class Hangs(Counter):
  """Hangs for ever at one place, if it is environment `only` (-1: any).

  Args:
    place: 'start', 'reset' (the second), 'step' (the second) or 'close'.
    lock: Whether it keeps Python's lock meanwhile, as C code may.
    once: A file; it hangs only as long as there is none.
    child: Whether it starts a process of its own before.
    seconds: Of every step.
  """

  def __init__(
    self,
    place='step',
    only=-1,
    index=-1,
    lock=False,
    once='',
    child=False,
    seconds=0.0,
  ):
    super().__init__()
    self.place = place if only in (-1, index) else ''
    self.lock, self.once, self.child = lock, once, child
    self.seconds = seconds
    self.hang('start', True)

  def reset(self, *, seed=None, options=None):
    result = super().reset(seed=seed)
    self.hang('reset', self.episode == 2)
    return result

  def step(self, action):
    result = super().step(action)
    time.sleep(self.seconds)
    self.hang('step', self.time == 2)
    return result

  def close(self):
    self.hang('close', True)

  def hang(self, place, now):
    if (
      place != self.place
      or not now
      or (self.once and os.path.exists(self.once))
    ):
      return
    if self.once:
      open(self.once, 'w').close()
    if self.child:
      subprocess.Popen(['sleep', '1000'])
    if self.lock:
      ctypes.PyDLL(None).sleep(1000)
    time.sleep(1000)
