"""Evaluation: which episodes are counted, and what is made of them."""

import dataclasses
import json

import jax
import numpy as np
import optax
import pytest

from dreamer_nnx.envs.faults import EnvError
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
  devices = sharding.make_sharding(devices=jax.devices()[:1])
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
      'greedy/cut': 0,
    }
  )
  assert str(found) == '3.00 ± 1.53 over 3 episodes (min 1.00, max 6.00)'


def test_a_single_episode_has_no_error():
  assert Returns((5.0,), (3,)).stderr == 0


class Cutting(Counting):
  """As `Counting`; a fault ends every other episode of the last worker."""

  def __init__(self, max_restarts=10, broken_at=0, **kw):
    super().__init__(**kw)
    self.max_restarts, self.broken_at = max_restarts, broken_at
    self.episodes = np.zeros(3, int)

  @property
  def cut(self):
    return self.ended & (np.arange(3) == 2) & (self.episodes % 2 == 1)

  def step(self, action):
    if self.broken_at and self.count == self.broken_at:
      raise EnvError('the simulator is gone')
    return super().step(action)

  def observe(self, reward):
    step = super().observe(reward)
    self.ended = step['is_last']
    self.episodes = self.episodes + self.ended
    return step


def evaluated(learner, state, envs, episodes, **how):
  key = jax.random.key(0)
  return evaluate(
    learner, state, envs, episodes=episodes, mode='mode', key=key, **how
  )


def test_episodes_cut_by_a_fault_are_played_again(learner, state):
  found = evaluated(learner, state, Cutting(), 7)
  assert sorted(found.returns) == [1, 1, 1, 4, 4, 9, 9]
  assert found.cut == 2 and not found.problem
  assert str(found).endswith('; 2 episodes were cut by faults and not counted')
  assert found.metrics('eval')['eval/cut'] == 2


def test_too_many_faults_end_it_with_what_is_complete(learner, state):
  found = evaluated(learner, state, Cutting(max_restarts=1), 12)
  assert found.cut == 2 and found.problem == '2 episodes were cut by faults'
  assert found.returns.count(9) == 1 and len(found.returns) < 12


def test_environments_that_fail_end_it_with_what_is_complete(learner, state):
  found = evaluated(learner, state, Cutting(broken_at=5), 40)
  assert found.problem == 'the simulator is gone'
  assert sorted(found.returns) == [1, 1, 1, 4, 4] and found.cut == 1
  nothing = evaluated(learner, state, Cutting(broken_at=0, max_restarts=0), 40)
  assert nothing.problem and nothing.cut == 1


def test_no_step_is_taken_after_the_last_episode(learner, state):
  # The second worker ends at step 2, and the step after it would fail.
  found = evaluated(learner, state, Cutting(broken_at=2), 2)
  assert found.returns == (1, 4) and not found.problem


def test_an_episode_that_does_not_end_is_not_waited_for(learner, state):
  found = evaluated(learner, state, Counting(), 7, max_steps=2)
  assert sorted(found.returns) == [1, 1, 1, 4, 4]
  assert found.problem == (
    'an episode took more than 2 steps (config.evaluate.max_steps)'
  )


def test_nothing_complete_has_no_statistics():
  found = Returns((), (), 3, 'the simulator is gone')
  assert found.metrics('eval') == {'eval/episodes': 0, 'eval/cut': 3}
  assert str(found) == (
    'no episode was complete; 3 episodes were cut by faults and not counted'
  )


def test_evaluations_of_several_processes_are_joined():
  one = Returns((1.0,), (2,), 1, '')
  two = Returns((3.0, 4.0), (5, 6), 2, 'lost')
  fields = [list(dataclasses.astuple(x)) for x in (one, two)]
  joined = Returns.joined(json.loads(json.dumps(fields)))
  assert joined == Returns((1, 3, 4), (2, 5, 6), 3, 'lost')
