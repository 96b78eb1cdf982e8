"""Vectors of gymnasium environments, in this process and in others."""

import logging
import multiprocessing
import os

import numpy as np
import pytest
from gymnasium import spaces

from dreamer_nnx import contracts, envs, interface, notices
from dreamer_nnx.envs import fleet, single, subprocesses
from tests.envs import games, lying

WHERE = 'config.env.test'
BOTH = pytest.mark.parametrize('workers', ['sync', 'async'])


@pytest.fixture
def start():
  """Makes vectors and closes them; no process may be left."""
  made = []

  def build(create, num_envs=2, seed=0, **options):
    env = single.vectorize(
      create,
      single.Options(**options),
      num_envs=num_envs,
      seed=seed,
      where=WHERE,
    )
    made.append(env)
    return env

  yield build
  for env in made:
    env.close()
  assert not multiprocessing.active_children()


def only(index, **fields):
  """Environment `index` has these fields, the others run smoothly."""
  return lambda i: games.Counter(**(fields if i == index else {}))


def act(*values):
  return {'action': np.array(values, np.int32)}


def collect(env, steps, num_envs=2):
  history = [env.reset()]
  history += [env.step(act(*range(num_envs))) for _ in range(steps)]
  return {k: np.stack([step[k] for step in history]) for k in history[0]}


@BOTH
def test_two_episodes_flag_by_flag(start, workers):
  env = start(lambda i: games.Counter(), workers=workers)
  assert isinstance(env, contracts.VectorEnv)
  run = collect(env, 8)
  assert (
    run['vector'][:, 0].tolist()
    == [[episode, step] for episode in (1, 2, 3) for step in range(4)][:9]
  )
  first, last = [1, 0, 0, 0] * 2 + [1], [0, 0, 0, 1] * 2 + [0]
  np.testing.assert_array_equal(run['is_first'][:, 0], first)
  np.testing.assert_array_equal(run['is_last'][:, 0], last)
  np.testing.assert_array_equal(run['is_terminal'], run['is_last'])
  # The action of the reset step is ignored.
  np.testing.assert_array_equal(
    run['reward'].T,
    [[0, 1, 2, 3, 0, 1, 2, 3, 0], [0, 11, 12, 13, 0, 11, 12, 13, 0]],
  )
  assert {k: v.dtype.name for k, v in run.items()} == {
    'vector': 'float32',
    'reward': 'float32',
    'is_first': 'bool',
    'is_last': 'bool',
    'is_terminal': 'bool',
  }


def test_truncation_is_last_but_not_terminal(start):
  env = start(lambda i: games.Counter(terminates=False))
  run = collect(env, 4)
  assert run['is_last'][:, 0].tolist() == [0, 0, 0, 1, 0]
  assert not run['is_terminal'].any()
  env = start(lambda i: games.Counter(), time_limit=2)
  run = collect(env, 4)
  assert run['is_last'][:, 0].tolist() == [0, 0, 1, 0, 0]
  assert not run['is_terminal'].any()


def test_repeat_adds_rewards_and_stops_at_the_end(start):
  run = collect(start(lambda i: games.Counter(), repeat=2), 2)
  assert run['reward'][:, 0].tolist() == [0, 1 + 2, 3]
  assert run['is_last'][:, 0].tolist() == [0, 0, 1]


@BOTH
def test_a_step_that_raises_ends_the_episode(start, workers, caplog):
  create = only(1, fail_at=2)
  env = start(create, workers=workers)
  with caplog.at_level(logging.WARNING):
    run = collect(env, 4)
  assert run['vector'][:, 1].tolist() == [
    [1, 0],
    [1, 1],
    [1, 1],
    [1, 0],
    [1, 1],
  ]
  assert run['reward'][:, 1].tolist() == [0, 11, 0, 0, 11]
  assert run['is_first'][:, 1].tolist() == [1, 0, 0, 1, 0]
  assert run['is_last'][:, 1].tolist() == [0, 0, 1, 0, 0]
  assert not run['is_terminal'][:, 1].any()
  assert run['is_last'][:, 0].tolist() == [0, 0, 0, 1, 0]
  assert env.stats() == {'env/restarts': 1.0}
  assert 'environment 1 at step 2 is restarted: step raised' in caplog.text
  assert 'ZeroDivisionError: the physics broke' in caplog.text
  assert 'games.py' in caplog.text


@pytest.mark.parametrize('failure', ['die', 'exit'])
def test_a_process_that_dies_is_replaced(start, failure, caplog):
  env = start(only(1, fail_at=2, failure=failure), workers='async')
  with caplog.at_level(logging.WARNING):
    run = collect(env, 4)
  assert run['vector'][:, 1].tolist() == [
    [1, 0],
    [1, 1],
    [1, 1],
    [1, 0],
    [1, 1],
  ]
  assert run['reward'][:, 1].tolist() == [0, 11, 0, 0, 11]
  assert run['is_first'][:, 1].tolist() == [1, 0, 0, 1, 0]
  assert run['is_last'][:, 1].tolist() == [0, 0, 1, 0, 0]
  assert not run['is_terminal'][:, 1].any()
  assert run['vector'][:, 0, 1].tolist() == [0, 1, 2, 3, 0]
  assert env.stats() == {'env/restarts': 1.0}
  code = {'die': -9, 'exit': 3}[failure]
  assert f'its process died (exit code {code})' in caplog.text


@BOTH
def test_what_they_notice_is_said_once_here(start, workers, caplog, capfd):
  notices.WARNED.discard('the wheel')
  env = start(lambda i: lying.Notices(), workers=workers)
  collect(env, 4)
  (record,) = caplog.records
  here = f' {os.getpid()} ' in record.message
  assert record.message.startswith('A wheel of ')
  assert here == (workers == 'sync')
  assert capfd.readouterr().err == ''


def test_a_process_killed_between_two_steps_is_replaced(start):
  env = start(lambda i: games.Counter(), workers='async')
  env.reset()
  victim = multiprocessing.active_children()[0]
  victim.kill()
  victim.join()
  step = env.step(act(1, 1))
  assert step['is_last'].sum() == 1 and not step['is_terminal'].any()
  assert env.step(act(1, 1))['is_first'].tolist() == step['is_last'].tolist()
  assert env.stats() == {'env/restarts': 1.0}


@BOTH
def test_a_reset_that_raises_is_tried_with_a_new_environment(start, workers):
  env = start(only(0, failure='reset'), workers=workers, max_restarts=2)
  run = collect(env, 12)
  # Episode 1 of every new object: its second reset raises.
  assert run['vector'][:, 0, 0].tolist() == [1.0] * 13
  assert run['is_first'][:, 0].tolist() == ([1, 0, 0, 0] * 4)[:13]
  assert env.stats() == {'env/restarts': 3.0}


@pytest.mark.parametrize(
  'workers, failure, cause',
  [
    ('sync', 'raise', 'ZeroDivisionError: the physics broke'),
    ('async', 'raise', 'ZeroDivisionError: the physics broke'),
    ('async', 'die', r'its process died \(exit code -9\)'),
  ],
)
def test_too_many_crashes_in_a_row_stop_the_run(start, workers, failure, cause):
  env = start(
    only(1, fail_at=1, failure=failure),
    workers=workers,
    max_restarts=2,
  )
  message = f'environment 1 .* crashed 3 times in a row, giving up.*{cause}'
  with pytest.raises(envs.EnvError, match=message):
    collect(env, 20)
  assert env.stats() == {'env/restarts': 2.0}


@BOTH
@pytest.mark.parametrize(
  'failure, message',
  [
    ('nan', "observation 'vector' of environment 1 is nan at step 2"),
    ('reward', "signal 'reward' of environment 1 is -inf at step 2"),
    ('shape', r"environment 1 at step 2: observation 'vector': .* \(3,\)"),
  ],
)
def test_broken_numbers_stop_the_run(start, workers, failure, message):
  env = start(only(1, fail_at=2, failure=failure), workers=workers)
  with pytest.raises(envs.EnvError, match=f'{WHERE}: .*{message}'):
    collect(env, 3)


def test_broken_actions_stop_the_run(start):
  env = start(lambda i: games.Mixed())
  with pytest.raises(envs.EnvError, match='call reset before step'):
    env.step({})
  env.reset()
  action = {
    'arm': np.array([[0.0, 0.5], [0.0, np.inf]], np.float32),
    'tools': np.ones((2, 2), np.int32),
    'switch': np.ones(2, np.int32),
  }
  message = "config.env.test: action 'arm' of environment 1 is inf at step 1"
  with pytest.raises(envs.EnvError, match=message):
    env.step(action)
  with pytest.raises(envs.EnvError, match=r"'arm' has the shape \(2,\), exp"):
    env.step({**action, 'arm': np.ones(2)})
  with pytest.raises(envs.EnvError, match="'arm' is missing, got"):
    env.step({'switch': action['switch']})


@BOTH
def test_mixed_spaces_both_ways(start, workers):
  env = start(lambda i: games.Mixed(), workers=workers)
  assert 'log/score' not in env.obs_space
  assert {k: v.shape for k, v in env.obs_space.items()} == {
    'body/joints': (2, 3),
    'body/touch': (3,),
    'camera': (8, 6, 3),
    'hint/0': (),
    'hint/1': (),
    'items': (2,),
  }
  env.reset()
  # The native actions are checked by the environment itself.
  step = env.step(
    {
      'arm': np.array([[-1, 5], [0.5, 0]], np.float32),
      'tools': np.array([[1, 2], [0, 0]]),
      'switch': np.array([0, 2]),
    }
  )
  assert env.stats() == {'env/restarts': 0.0}
  assert (step['camera'] == 2).all() and step['camera'].shape == (2, 8, 6, 3)
  assert step['body/joints'][1].tolist() == [[0, 2, 4], [6, 8, 10]]
  assert step['body/touch'][1].tolist() == [1, 0, 1]
  assert step['items'][1].tolist() == [2, 0]
  assert (step['hint/0'][1], step['hint/1'][1]) == (2, 5)
  assert step['items'].dtype == step['hint/0'].dtype == np.int32
  assert step['log/score'].tolist() == [0.25, 0.25]


def test_native_actions_are_rescaled_clipped_and_shifted(start):
  inner = games.Mixed()
  env = start(lambda i: inner, num_envs=1)
  env.reset()
  arm = lambda *x: env.step(
    {
      'arm': np.array([x]),
      'tools': np.array([[1, 2]]),
      'switch': np.zeros(1, np.int32),
    }
  )
  for action in ([-1, 1], [0, 0], [-9, 9], [0.5, -0.5]):
    arm(*action)
  native = [action['arm'].tolist() for action in inner.received]
  assert native == [[-2, 10], [1, 5], [-2, 10], [2.5, 2.5]]
  assert inner.received[0]['switch'] == -1
  assert inner.received[0]['tools'].tolist() == [1, 2]


def test_actions_without_bounds_pass_and_integers_are_rounded(start):
  inner = games.Counter()
  inner.action_space = spaces.Dict(
    {
      'free': spaces.Box(
        np.array([-np.inf, 0.0]), np.inf, (2,), dtype=np.float64
      ),
      'level': spaces.Box(10, 20, (1,), np.int64),
    }
  )
  received = []
  answer = np.ones(2), 0.0, False, False, {}
  inner.step = lambda action: received.append(action) or answer
  env = start(lambda i: inner, num_envs=1)
  env.reset()
  for space in env.action_space.values():
    assert (space.low == -1).all() and (space.high == 1).all()
  env.step({'free': np.array([[-3.0, -0.5]]), 'level': np.array([[0.17]])})
  (native,) = received
  assert native['free'].tolist() == [-3, 0]
  assert native['level'].tolist() == [16]
  assert native['level'].dtype == np.int64


def test_seeds_differ_by_environment_and_repeat_by_run(start):
  made = {}

  def create(index):
    made[index] = games.Counter()
    return made[index]

  def seeds(seed):
    start(create, num_envs=3, seed=seed).reset()
    return [made[i].seeds[0] for i in range(3)]

  assert seeds(1) == seeds(1)
  assert len({*seeds(1), *seeds(2)}) == 6


def test_rendering_and_scaling(start):
  env = start(lambda i: games.Drawn(), render=True)
  assert env.obs_space['image'].shape == (10, 20, 3)
  env.reset()
  assert (env.step(act(0, 0))['image'] == 10).all()
  env = start(lambda i: games.Drawn(), render=True, image_size=(6, 4))
  assert env.obs_space['image'].shape == (6, 4, 3)
  assert env.reset()['image'].shape == (2, 6, 4, 3)
  assert (env.step(act(0, 0))['image'] == 10).all()
  env = start(lambda i: games.Mixed(), image_size=(16, 12))
  assert (env.reset()['camera'] == np.ones((2, 16, 12, 3))).all()
  with pytest.raises(envs.EnvError, match=r"gave object .*render_mode='rgb_a"):
    start(lambda i: Undrawn(), render=True)


class Growing(games.Drawn):
  """Draws one row more in each step."""

  def render(self):
    return np.zeros((1 + self.time, 20, 3), np.uint8)


def test_all_drawings_are_of_one_size(start):
  env = start(lambda i: Growing(), render=True)
  env.reset()
  message = (
    r'step 1: render\(\) drew .* \(2, 20, 3\), the first .* \(1, 20, 3\)'
  )
  with pytest.raises(envs.EnvError, match=message):
    env.step(act(0, 0))
  env = start(lambda i: Growing(), render=True, image_size=(6, 4))
  env.reset()
  assert env.step(act(0, 0))['image'].shape == (2, 6, 4, 3)


class Undrawn(games.Counter):
  def render(self):
    return None


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_resizing_keeps_channels_apart(channels):
  image = np.zeros((4, 4, channels), np.uint8)
  image[:] = np.arange(1, channels + 1) * 20
  scaled = interface.resize(image, (8, 2))
  assert (scaled == image[:1, :2]).all() and scaled.shape == (8, 2, channels)


def test_closing_ends_the_processes_quickly(start, monkeypatch):
  env = start(lambda i: games.Counter(), num_envs=3, workers='async')
  env.reset()
  workers = multiprocessing.active_children()
  ended = []
  dispose = subprocesses.Process._dispose

  def noted(link):
    ended.append(link._process.exitcode)
    return dispose(link)

  monkeypatch.setattr(subprocesses.Process, '_dispose', noted)
  monkeypatch.setattr(fleet, 'CLOSE_SECONDS', 60.0)
  env.close()
  env.close()
  assert not multiprocessing.active_children()
  # By themselves, so that none had to be killed.
  assert len(workers) == 3 and ended == [0, 0, 0]


def test_steps_of_the_past_stay_as_they_were(start):
  for workers in ('sync', 'async'):
    env = start(lambda i: games.Counter(), workers=workers)
    first = env.reset()
    kept = {key: value.copy() for key, value in first.items()}
    env.step(act(1, 1))
    for key in kept:
      np.testing.assert_array_equal(first[key], kept[key])


def test_drawings_in_one_array_are_told_apart(start):
  class Shared(games.Drawn):
    kept = np.zeros((10, 20, 3), np.uint8)

    def render(self):
      self.kept[:] = super().render() + self.index
      return self.kept

  def make(index):
    env = Shared()
    env.index = index
    return env

  env = start(make, render=True)
  assert env.reset()['image'][:, 0, 0, 0].tolist() == [0, 1]
  assert env.step(act(1, 1))['image'][:, 0, 0, 0].tolist() == [10, 11]


def test_there_is_no_state(start):
  env = start(lambda i: games.Counter())
  env.reset()
  assert env.state() is None
  with pytest.raises(envs.EnvError, match='have no state to restore'):
    env.restore({})


@BOTH
def test_an_action_that_is_changed_is_nobody_elses(start, workers):
  env = start(lambda i: Greedy(), workers=workers)
  env.reset()
  given = np.array([[0.5, 0], [0.25, 0]], np.float32)
  for _ in range(2):
    step = env.step({'action': given})
    assert step['reward'].tolist() == [1, 0.5]
  assert given.tolist() == [[0.5, 0], [0.25, 0]]


class Greedy(games.Counter):
  """Rewards with the first number of its action, and then changes it."""

  action_space = spaces.Box(-2, 2, (2,), np.float32)

  def step(self, action):
    reward = float(action[0])
    action[:] = 9
    return self._obs(), reward, False, False, {}


def test_bounds_of_actions_are_the_same_in_a_run(start):
  def create(index):
    env = games.Counter()
    env.action_space = spaces.Box(-1 - index, 1, (2,), np.float32)
    return env

  env = start(create)
  message = r'environment 1 .*its action space is Box\(-2.0'
  with pytest.raises(envs.EnvError, match=message):
    env.reset()


def test_environments_of_one_run_have_the_same_spaces(start):
  env = start(lambda i: games.Mixed() if i else games.Counter())
  with pytest.raises(envs.EnvError, match=r'environment 1 .*the same spaces'):
    env.reset()
