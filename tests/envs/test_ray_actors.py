"""Environments in Ray actors are like those in this process, and replaced."""

import logging
import os
import signal
import sys
import time

import numpy as np
import pytest
import ray

from dreamer_nnx import envs, notices
from dreamer_nnx.envs import ray_actors, single
from tests.envs import games, lying

pytestmark = pytest.mark.slow

WHERE = 'config.env.test'


@pytest.fixture(scope='module', autouse=True)
def cluster():
  """A cluster of this machine, as Ray starts it where there is none."""
  ray.init(num_cpus=2, include_dashboard=False, logging_level='error')
  yield
  ray.shutdown()


@pytest.fixture
def start():
  made = []

  def build(create, workers='ray', num_envs=2, **options):
    env = single.vectorize(
      create,
      single.Options(workers=workers, **options),
      num_envs=num_envs,
      seed=0,
      where=WHERE,
    )
    made.append(env)
    return env

  yield build
  for env in made:
    env.close()


def only(index, **fields):
  """Environment `index` has these fields, the others run smoothly."""
  return lambda i: games.Counter(**(fields if i == index else {}))


def run(env, actions):
  history = [env.reset(), *map(env.step, actions)]
  return {k: np.stack([step[k] for step in history]) for k in history[0]}


def counted(steps):
  return [{'action': np.array([t % 4, 1], np.int32)} for t in range(steps)]


def mixed(steps):
  return [
    {
      'arm': np.array([[-1, 0.5], [0.5, 0]], np.float32),
      'tools': np.array([[1, 2], [0, 0]]),
      'switch': np.array([0, 2]),
    }
  ] * steps


@pytest.mark.parametrize(
  'create, actions',
  [
    (lambda i: games.Counter(), counted(8)),
    (lambda i: games.Counter(terminates=False), counted(8)),
    (lambda i: games.Mixed(), mixed(4)),
  ],
)
def test_actors_do_what_this_process_does(start, create, actions):
  here, there = (run(start(create, w), actions) for w in ('sync', 'ray'))
  assert here.keys() == there.keys()
  for name, value in here.items():
    assert value.dtype == there[name].dtype
    np.testing.assert_array_equal(value, there[name], err_msg=name)


def test_an_actor_that_dies_is_replaced(start, caplog):
  env = start(only(1, fail_at=2, failure='die'))
  with caplog.at_level(logging.WARNING):
    found = run(env, counted(4))
  # The last good observation again, reward 0, cut off; then a new episode.
  assert found['vector'][:, 1].tolist() == [
    [1, 0],
    [1, 1],
    [1, 1],
    [1, 0],
    [1, 1],
  ]
  assert found['is_last'][:, 1].tolist() == [0, 0, 1, 0, 0]
  assert found['is_first'][:, 1].tolist() == [1, 0, 0, 1, 0]
  assert not found['is_terminal'][:, 1].any()
  assert found['reward'][2, 1] == 0
  assert found['vector'][:, 0].tolist()[:4] == [[1, 0], [1, 1], [1, 2], [1, 3]]
  assert env.stats() == {'env/restarts': 1.0}
  assert (
    'environment 1 at step 2 is restarted: its actor was lost' in caplog.text
  )


def test_what_actors_notice_is_said_once_here(start, caplog):
  notices.WARNED.discard('the wheel')
  run(start(lambda i: lying.Notices()), counted(4))
  (record,) = [x for x in caplog.records if x.name == notices.__name__]
  assert record.message.startswith('A wheel of ')
  assert f' {os.getpid()} ' not in record.message


class Named(games.Counter):
  """Shows the process it is in."""

  def _obs(self):
    return np.array([os.getpid(), self.time], np.float64)


def test_an_actor_killed_between_two_steps_is_replaced(start):
  env = start(lambda i: Named())
  env.reset()
  before = env.step(counted(1)[0])['vector'][:, 0]
  os.kill(int(before[0]), signal.SIGKILL)
  lost, fresh = (env.step(counted(1)[0]) for _ in range(2))
  assert lost['is_last'].tolist() == [True, False]
  assert fresh['is_first'].tolist() == [True, False]
  assert fresh['vector'][0, 0] != before[0]
  assert fresh['vector'][1, 0] == before[1]


def test_too_many_losses_in_a_row_stop_the_run(start):
  env = start(only(1, fail_at=1, failure='die'), max_restarts=1)
  with pytest.raises(
    envs.EnvError, match='crashed 2 times in a row, giving up'
  ):
    run(env, counted(9))


def test_a_step_that_raises_ends_the_episode_only(start):
  env = start(only(1, fail_at=2))
  found = run(env, counted(4))
  assert found['is_last'][:, 1].tolist() == [0, 0, 1, 0, 0]
  assert env.stats() == {'env/restarts': 1.0}


def test_without_ray_the_extra_is_named(start, monkeypatch):
  monkeypatch.setitem(sys.modules, 'ray', None)
  message = r"workers = 'ray' needs the package ray: .*'dreamer-nnx\[ray\]'"
  with pytest.raises(envs.EnvError, match=message):
    start(lambda i: games.Counter())


def test_an_actor_that_hangs_is_replaced(start, caplog):
  create = lambda index: games.Hangs(only=1, index=index, lock=bool(index))
  env = start(create, step_timeout=3.0)
  with caplog.at_level(logging.WARNING):
    found = run(env, counted(3))
  assert found['is_last'][:, 1].tolist() == [0, 0, 1, 0]
  assert found['is_first'][:, 1].tolist() == [1, 0, 0, 1]
  assert env.stats() == {'env/restarts': 1.0}
  assert (
    'environment 1 at step 2 is restarted: step has not returned for 3 seconds '
    '(step_timeout), its actor was killed'
  ) in caplog.text


def test_an_actor_has_a_moment_after_this_process_stood_still(
  start, monkeypatch
):
  env = start(lambda i: games.Counter())
  env.reset()
  get, stood = ray_actors.Actor._get, []

  def late(actor, seconds):
    if actor not in stood:
      stood.append(actor)
      # Its time is over, which passed while nothing ran.
      raise ray.exceptions.GetTimeoutError
    return get(actor, seconds)

  monkeypatch.setattr(ray_actors.Actor, '_get', late)
  assert not env.step(counted(1)[0])['is_last'].any()
  assert len(stood) == 2 and env.stats() == {'env/restarts': 0.0}


def test_an_actor_that_hangs_as_it_closes_is_killed(start):
  env = start(lambda index: games.Hangs('close'))
  env.reset()
  begin = time.monotonic()
  env.close()
  assert time.monotonic() - begin < 9
