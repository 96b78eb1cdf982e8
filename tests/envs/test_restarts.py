"""Seeds of environments that are made in place of others."""

import os

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from dreamer_nnx import streams
from dreamer_nnx.envs import single
from dreamer_nnx.envs.host import Host
from dreamer_nnx.streams import Stream


class Worlds(gymnasium.Env):
  """Draws a world for each episode of 4 steps, and fails in the second one.

  Args:
    heeds: Whether `reset` takes a seed, or only this does.
    failure: How: 'raise', 'die', or 'reset', where it cannot begin.
  """

  observation_space = spaces.Box(0, 1e9, (1,), np.float64)
  action_space = spaces.Discrete(2)

  def __init__(self, heeds, failure, seed):
    self.heeds, self.failure = heeds, failure
    self.rng = np.random.default_rng(seed)
    self.episode = 0

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.time, self.episode = 0, self.episode + 1
    if self.failure == 'reset' and self.episode == 2:
      raise OSError('no such level')
    rng = self.np_random if self.heeds else self.rng
    self.world = np.full(1, float(rng.integers(2**20)))
    return self.world, {}

  def step(self, action):
    self.time += 1
    if self.episode == 2 and self.time == 2:
      if self.failure == 'die':
        os._exit(3)
      raise ValueError('boom')
    return self.world, 0.0, False, self.time == 4, {}


def played(workers, seed=0, steps=30, **fields):
  """The worlds of all episodes, of two environments."""
  env = single.vectorize(
    single.Maker(Worlds, fields, seed),
    single.Options(workers=workers),
    num_envs=2,
    seed=seed,
    where='config.env.test',
  )
  action = {'action': np.zeros(2, np.int32)}
  found = [env.reset()] + [env.step(action) for _ in range(steps)]
  again = env.reset()['vector']
  assert env.stats()['env/restarts'] > 4
  env.close()
  firsts = np.concatenate([x['vector'][x['is_first'], 0] for x in found])
  return firsts.tolist(), (found[0]['vector'] == again).all()


@pytest.mark.parametrize('heeds', [True, False])
@pytest.mark.parametrize(
  ('workers', 'failure'),
  [
    ('sync', 'raise'),
    ('sync', 'reset'),
    ('async', 'raise'),
    ('async', 'reset'),
    ('async', 'die'),
  ],
)
def test_no_episode_comes_again_and_runs_of_a_seed_do(workers, failure, heeds):
  fields = {'heeds': heeds, 'failure': failure}
  found, same = played(workers, **fields)
  assert len(found) > 8 and len({*found}) == len(found)
  assert same == (heeds and failure != 'reset')
  assert played(workers, **fields)[0] == found
  assert not {*played(workers, seed=1, **fields)[0]} & {*found}


def test_the_first_environments_have_the_seeds_that_their_maker_gives():
  found, _ = played('sync', heeds=False, failure='raise', seed=7)
  seeds = [streams.seed(7, Stream.MAKE, index) for index in range(2)]
  draws = [np.random.default_rng(seed).integers(2**20) for seed in seeds]
  assert found[:2] == draws


def test_one_that_is_made_without_a_seed_is_made_again_without_one():
  env = single.vectorize(
    lambda index: Worlds(True, 'raise', index),
    single.Options(),
    num_envs=1,
    seed=0,
    where='config.env.test',
  )
  found = [env.reset()]
  for _ in range(8):
    found.append(env.step({'action': np.zeros(1, np.int32)}))
  assert env.stats() == {'env/restarts': 1.0}
  assert sum(x['is_first'][0] for x in found) == 3


def test_each_crash_has_a_seed_from_the_one_before():
  given = []

  class Fails(gymnasium.Env):
    observation_space = spaces.Dict({'x': spaces.Discrete(2)})
    action_space = spaces.Discrete(2)
    interface = single.Interface(observation_space, action_space)
    notes = ()

    def __init__(self, again=None):
      given.append(again)

    def reset(self, *, seed=None, options=None):
      given.append(seed)
      return {'x': 0}, {}

    def step(self, action):
      raise ValueError

  host = Host(Fails, 5)
  host.reset(4)
  for _ in range(2):
    assert host.step(0).cut
    host.reset(None)
  one = streams.seed(4, Stream.CRASH)
  two = streams.seed(one, Stream.CRASH)
  assert given == [None, 4, one, one, two, two]
  host.step(0)
  host.reset(9)
  assert given[6:] == [streams.seed(two, Stream.CRASH), 9]
