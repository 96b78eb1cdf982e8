"""Evaluation: which episodes are counted, and what is made of them."""

import jax
import numpy as np
import optax
import pytest

from dreamer_nnx.training import sharding
from dreamer_nnx.training.evaluate import Returns, evaluate
from dreamer_nnx.training.step import Learner
from tests.agent.parts import ACTION_SPACE, OBS_SPACE, make_agent


class Counting:
  """Worker w plays episodes of w + 1 steps and gets w + 1 for each.

  With `echo` the rewards are the actions instead.
  """

  num_envs = 3
  obs_space = OBS_SPACE
  action_space = ACTION_SPACE

  def __init__(self, echo=False):
    self.echo, self.time, self.count = echo, np.zeros(3, int), 0

  def reset(self):
    self.time[:] = 0
    return self.observe(np.zeros(3))

  def step(self, action):
    workers, self.count = np.arange(3), self.count + 1
    self.time = np.where(self.time > workers, 0, self.time + 1)
    reward = action['action'] if self.echo else workers + 1
    return self.observe(np.where(self.time == 0, 0, reward))

  def observe(self, reward):
    last = self.time > np.arange(3)
    return {
      'vector': np.stack([self.time, -self.time, self.time % 2], -1).astype(
        np.float32
      ),
      'reward': reward.astype(np.float32),
      'is_first': self.time == 0,
      'is_last': last,
      'is_terminal': last,
      # No array that a compiled function would take.
      'log/name': np.array(['a', 'b', 'c']),
    }


@pytest.fixture(scope='module')
def learner():
  devices = sharding.make(devices=jax.devices()[:1])
  return Learner(make_agent, optax.identity(), devices, batch_length=1)


@pytest.fixture(scope='module')
def state(learner):
  return learner.init(0)


def play(learner, state, *, episodes=40, mode='sample', seed=0, **kw):
  key = jax.random.key(seed)
  return evaluate(
    learner, state, Counting(**kw), episodes=episodes, mode=mode, key=key
  )


def test_every_worker_plays_its_share(learner, state):
  found = play(learner, state, episodes=7)
  # Not the first seven to finish: those would mostly be the short ones.
  assert sorted(found.returns) == [1, 1, 1, 4, 4, 9, 9]
  assert sorted(found.lengths) == [1, 1, 1, 2, 2, 3, 3]


def test_fewer_episodes_than_workers(learner, state):
  assert play(learner, state, episodes=2).returns == (1, 4)


def test_greedy_actions_do_not_depend_on_the_seed(learner, state):
  one, two = (
    play(learner, state, mode='mode', seed=seed, echo=True) for seed in (0, 1)
  )
  assert one == two


def test_sampled_actions_do(learner, state):
  one, again, two, greedy = (
    play(learner, state, mode=mode, seed=seed, echo=True)
    for mode, seed in (('sample', 0), ('sample', 0), ('sample', 1), ('mode', 0))
  )
  assert one == again
  assert len({one.returns, two.returns, greedy.returns}) == 3


def test_the_state_is_not_consumed(learner, state):
  play(learner, state, episodes=1)
  assert not any(x.is_deleted() for x in state.values())


def test_it_ends_early_when_asked(learner, state):
  turns = iter([False] * 5 + [True])
  found = evaluate(
    learner,
    state,
    Counting(),
    episodes=40,
    mode='mode',
    key=jax.random.key(0),
    stop=lambda: next(turns),
  )
  # In five turns: two episodes of the first worker, one of the second.
  assert sorted(found.returns) == [1, 1, 4, 9]


def test_it_tells_how_far_it_is(learner, state):
  told = []
  evaluate(
    learner,
    state,
    Counting(),
    episodes=3,
    mode='mode',
    key=jax.random.key(0),
    progress=lambda *counts: told.append(counts),
  )
  # Workers are done after one, two and three steps of all three.
  assert told == [(0, 3, 0), (1, 3, 3), (2, 3, 6), (3, 3, 9)]


def test_statistics_by_hand():
  found = Returns((1.0, 2.0, 6.0), (10, 20, 60))
  # The variance is ((-2)² + (-1)² + 3²) / 2 = 7.
  assert found.mean == 3 and found.stderr == pytest.approx((7 / 3) ** 0.5)
  assert found.metrics('greedy') == pytest.approx(
    {
      'greedy/return': 3,
      'greedy/stderr': (7 / 3) ** 0.5,
      'greedy/min': 1,
      'greedy/max': 6,
      'greedy/length': 30,
      'greedy/episodes': 3,
    }
  )
  assert str(found) == '3.00 ± 1.53 over 3 episodes (min 1.00, max 6.00)'


def test_a_single_episode_has_no_error():
  assert Returns((5.0,), (3,)).stderr == 0
