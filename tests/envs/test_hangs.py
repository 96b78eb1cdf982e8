"""Environments that hang are replaced or shown, and outlive no run."""

import json
import logging
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dreamer_nnx import envs
from dreamer_nnx.envs import fleet, orphans, single, subprocesses
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV
from tests.envs.games import Counter, Hangs

ROOT = Path(__file__).resolve().parents[2]
WHERE = 'config.env.test'
ACTION = {'action': np.zeros(2, np.int32)}


@pytest.fixture
def start():
  """Makes pairs of environments in processes; none may be left."""
  made = []

  def build(place='step', only=1, **options):
    fields = {k: options.pop(k) for k in ('lock', 'once') if k in options}
    env = single.vectorize(
      lambda index: Hangs(place, only, index, **fields),
      single.Options(**{'workers': 'async', 'step_timeout': 1.0, **options}),
      num_envs=2,
      seed=0,
      where=WHERE,
    )
    made.append(env)
    return env

  yield build
  for env in made:
    env.close()
  assert not multiprocessing.active_children()


def collect(env, steps):
  history = [env.reset()] + [env.step(ACTION) for _ in range(steps)]
  return {k: np.stack([step[k] for step in history]) for k in history[0]}


@pytest.mark.parametrize('lock', [False, True])
def test_a_process_that_hangs_in_a_step_is_replaced(start, lock, caplog):
  env = start(lock=lock)
  with caplog.at_level(logging.WARNING):
    run = collect(env, 4)
  assert run['vector'][:, 1, 1].tolist() == [0, 1, 1, 0, 1]
  assert run['is_first'][:, 1].tolist() == [1, 0, 0, 1, 0]
  assert run['is_last'][:, 1].tolist() == [0, 0, 1, 0, 0]
  assert not run['is_terminal'][:, 1].any() and run['reward'][2, 1] == 0
  assert run['vector'][:, 0, 1].tolist() == [0, 1, 2, 3, 0]
  assert env.stats() == {'env/restarts': 1.0}
  assert (
    'environment 1 at step 2 is restarted: step has not returned for 1 seconds '
    '(step_timeout), its process was killed'
  ) in caplog.text


def test_a_process_that_hangs_in_a_reset_begins_the_episode_anew(start):
  env = start('reset')
  run = collect(env, 8)
  # The second reset of each object hangs.
  assert run['vector'][:, 1, 0].tolist() == [1] * 9
  assert run['is_first'][:, 1].tolist() == [1, 0, 0, 0] * 2 + [1]
  assert run['is_last'][:, 1].tolist() == [0, 0, 0, 1] * 2 + [0]
  assert env.stats() == {'env/restarts': 2.0}


@pytest.mark.parametrize('only', [0, 1])
def test_a_start_that_hangs_once_is_tried_again(start, only, tmp_path):
  env = start('start', only, once=str(tmp_path / 'once'))
  assert collect(env, 1)['is_first'].tolist() == [[1, 1], [0, 0]]
  assert env.stats() == {'env/restarts': 1.0}


@pytest.mark.parametrize('only', [0, 1])
def test_starts_that_hang_stop_the_run(start, only):
  message = (
    f'^{WHERE}: environment {only} at step 0: crashed 2 times in a row, .*: '
    f'{"reset" if only else "start"} has not returned for 1 seconds'
  )
  with pytest.raises(envs.EnvError, match=message):
    start('start', only, max_restarts=1).reset()


def test_steps_that_hang_too_often_stop_the_run(start):
  env = start(max_restarts=1)
  with pytest.raises(envs.EnvError, match='crashed 2 times in a row'):
    collect(env, 9)
  assert env.stats() == {'env/restarts': 1.0}


def test_all_that_hang_are_waited_for_together(start, monkeypatch):
  waits = []

  def noted(*arguments):
    waits.append(fleet.remaining(*arguments))
    return waits[-1]

  env = start(only=-1, step_timeout=2.0)
  env.reset()
  env.step(ACTION)
  monkeypatch.setattr(subprocesses, 'remaining', noted)
  begin = time.monotonic()
  assert env.step(ACTION)['is_last'].all()
  assert time.monotonic() - begin >= 2
  # The second has had its time when the first is given up.
  assert waits[0] <= 2 and waits[1:] == [fleet.MARGIN] * 3


def test_closing_does_not_hang(start, monkeypatch):
  deadlines, close = [], subprocesses.Process.close

  def noted(link, deadline):
    deadlines.append(deadline)
    return close(link, deadline)

  monkeypatch.setattr(subprocesses.Process, 'close', noted)
  monkeypatch.setattr(fleet, 'CLOSE_SECONDS', 1.0)
  env = start('close', only=-1, lock=True)
  env.reset()
  begin = time.monotonic()
  env.close()
  # The limit is one for both.
  assert len(deadlines) == 2 and len(set(deadlines)) == 1
  assert begin + 1 <= deadlines[0] <= time.monotonic()
  assert not multiprocessing.active_children()


@pytest.mark.parametrize('workers', ['sync', 'async'])
def test_only_time_in_the_environment_counts(start, workers):
  env = start('', workers=workers)
  env.reset()
  env.step(ACTION)
  time.sleep(2)
  env.step(ACTION)
  assert env.stats() == {'env/restarts': 0.0}


@pytest.mark.parametrize('workers', ['sync', 'async'])
def test_without_a_limit_a_step_may_take_any_time(workers):
  env = single.vectorize(
    lambda index: Slow(),
    single.Options(workers=workers, step_timeout=0.0),
    num_envs=2,
    seed=0,
    where=WHERE,
  )
  assert collect(env, 1)['vector'][1, :, 1].tolist() == [1, 1]
  assert env.stats() == {'env/restarts': 0.0}
  env.close()


class Slow(Counter):
  def step(self, action):
    time.sleep(0.5)
    return super().step(action)


def test_processes_by_spawn_do_the_same(start, monkeypatch):
  monkeypatch.setattr(subprocesses, 'CONTEXT', 'spawn')
  env = start(step_timeout=20.0, once=os.devnull)
  run = collect(env, 4)
  assert run['vector'][:, 0, 1].tolist() == [0, 1, 2, 3, 0]
  multiprocessing.active_children()[0].kill()
  assert env.step(ACTION)['is_last'].sum() == 1
  assert env.stats() == {'env/restarts': 1.0}


def launch(workers, seconds, steps, *fields):
  command = [sys.executable, '-m', 'tests.envs.hanging', workers]
  return subprocess.Popen(
    [*command, str(seconds), str(steps), *map(json.dumps, fields)],
    cwd=ROOT,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_in_this_process_it_is_shown_where_it_hangs():
  places = ('start', 'reset', 'step', 'close')
  steps = {'reset': 5}
  launched = [
    launch('sync', 1, steps.get(place, 2), {'place': place}) for place in places
  ]
  for place, process in zip(places, launched, strict=True):
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1, err
    assert err.strip().endswith(
      f"config.env.custom.make = 'some:game': environment 0 hangs: {place} has "
      'not returned for 1 seconds (step_timeout), see the last stack above.'
    )
    assert 'games.py' in err and 'in hang' in err


def test_each_environment_of_this_process_has_the_whole_limit():
  # Together they take longer than one may; then the second hangs.
  slow = {'place': '', 'seconds': 0.6}
  process = launch('sync', 1, 4, slow, slow | {'place': 'step'}, slow)
  out, err = process.communicate(timeout=100)
  assert process.returncode == 1, err
  assert out.split() == ['step', 'step']
  assert 'environment 1 hangs: step has not returned for 1 seconds' in err


def test_a_call_is_watched_after_one_that_it_makes():
  program = """if True:
    import time
    from dreamer_nnx.envs.watchdog import Watchdog
    dog = Watchdog(0.5, str)
    dog.run('outer', lambda: [dog.run('inner', int), time.sleep(60)])
  """
  done = subprocess.run(
    [sys.executable, '-c', program],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=50,
  )
  assert done.returncode == 1
  assert done.stderr.strip().endswith('outer')


def test_c_code_that_keeps_the_lock_of_python_is_shown_too():
  process = launch('sync', 1, 2, {'lock': True})
  _, err = process.communicate(timeout=100)
  assert process.returncode == 1, err
  assert 'games.py' in err and 'in hang' in err and 'watchdog.py' in err


def test_nothing_outlives_a_killed_run():
  hanging = [{'lock': True, 'child': True}, {'child': True}, {'place': ''}]
  idle = [{'place': ''}] * 2
  runs = [launch('async', 600, 2, *fields) for fields in (hanging, idle)]
  for process, steps in zip(runs, (2, 3), strict=True):
    lines = [process.stdout.readline() for _ in range(steps)]
    assert lines == ['step\n', 'step\n', 'stepped\n'][:steps]
  # The hanging ones have their child and are in its step.
  time.sleep(1)
  for process in runs:
    process.kill()
  begin = time.monotonic()
  for process in runs:
    # Every process that it led to holds its output open.
    process.communicate(timeout=100)
  assert time.monotonic() - begin < 20


def test_the_reaper_leaves_those_alone_that_were_taken_back():
  mine = subprocess.Popen(['sleep', '1000'], start_new_session=True)
  others = subprocess.Popen(['sleep', '1000'], start_new_session=True)
  reaper = orphans.Reaper()
  reaper.add(mine.pid)
  reaper.add(others.pid)
  reaper.remove(mine.pid)
  reaper.close()
  assert others.wait(20) == -9
  assert mine.poll() is None
  mine.kill()
  mine.wait()


def test_a_run_goes_on_without_the_reaper(monkeypatch, start):
  reapers = []

  class Seen(orphans.Reaper):
    def __init__(self):
      super().__init__()
      reapers.append(self)

  monkeypatch.setattr(orphans, 'Reaper', Seen)
  env = start(step_timeout=2.0)
  orphans.kill(reapers[0]._process.pid)
  assert collect(env, 4)['is_last'][:, 1].tolist() == [0, 0, 1, 0, 0]


def limited(*, step_timeout: float = 2.0) -> Counter:
  return Counter(length=int(step_timeout))


def test_a_function_of_one_environment_may_have_the_limit_as_a_field():
  name = f'{__name__}:limited'
  message = r'config.env.limited.step_timeout = -1.0: must be at least 0'
  with pytest.raises(ValueError, match=message):
    envs.make_vector_env(Choice(ENV, name, step_timeout=-1.0), 2, 0)
  env = envs.make_vector_env(Choice(ENV, name, step_timeout=1.0), 2, 0)
  assert collect(env, 1)['is_last'].tolist() == [[0, 0], [1, 1]]
  env.close()


@pytest.mark.parametrize('name', ['gymnasium', 'custom'])
@pytest.mark.parametrize('value', [-1.0, float('nan'), float('inf'), 1e7])
def test_limits_out_of_range_are_refused(name, value):
  message = f'config.env.{name}.step_timeout = .*: must be '
  with pytest.raises(ValueError, match=message):
    envs.make_vector_env(Choice(ENV, name, step_timeout=value), 2, 0)
