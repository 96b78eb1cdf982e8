"""Runs in real time: stopped, gone on with, evaluated, logged."""

import json
import signal

import pytest

from dreamer_nnx.training.checkpoint import load_meta
from tests.launcher import arguments, finish, launch, spawn, training
from tests.plain import PLAIN

pytestmark = pytest.mark.slow

ASYNC = {'train__act_async': True}
PACED = ASYNC | {
  'env__name': 'custom',
  'env__custom__make': 'tests.envs.games:Counter',
  'env__custom__arguments': 'length=7',
  'env__custom__control_rate': 50.0,
  'train__envs': 1,
}


def counters(workdir):
  return load_meta(workdir)['counters']


def lines(workdir):
  text = (workdir / 'metrics.jsonl').read_text('utf-8')
  return [json.loads(line) for line in text.splitlines()]


def test_a_signal_saves_and_the_same_command_goes_on(tmp_path):
  argv = arguments(tmp_path, **PACED, train__steps=1_000_000)
  process = spawn([*argv, '--mode=train'], more=PLAIN)
  training(process)
  process.send_signal(signal.SIGTERM)
  result = finish(process)
  assert result.status == 0, result.out
  first = counters(tmp_path)
  steps = first['env_steps']
  assert f'Stopped at {steps} environment steps; saved.' in result.out
  assert 0 < steps < 1_000_000
  argv = arguments(tmp_path, **PACED, train__steps=steps + 100)
  result = finish(spawn([*argv, '--mode=train'], more=PLAIN))
  assert result.status == 0, result.out
  second = counters(tmp_path)
  assert second['env_steps'] == steps + 100
  assert second['updates'] > first['updates']
  last = lines(tmp_path)[-1]
  assert last['acting/parameter_age'] > 0
  assert last['acting/parameter_age_updates'] <= 1
  assert last['acting/updates_owed'] >= 0
  assert last['env/missed_deadlines'] >= 0


def test_everything_of_a_run_works_beside_acting(tmp_path):
  changes = ASYNC | {
    'train__save_every': 20,
    'train__report_every': 20,
    'evaluate__every': 30,
  }
  argv = arguments(tmp_path, **changes)
  result = launch(argv)
  assert result.status == 0, result.err
  assert result.out.count('Return ') >= 3
  assert counters(tmp_path)['env_steps'] == 60
  assert counters(tmp_path)['updates'] > 50
  # The games go on where they were, for they have a state.
  assert load_meta(tmp_path)['processes'][0]['envs'] is not None
  logged = set().union(*lines(tmp_path))
  assert {'acting/parameter_age', 'report/loss/image', 'eval/return'} <= logged
  result = launch(arguments(tmp_path, **changes, train__steps=100))
  assert result.status == 0, result.err
  assert counters(tmp_path)['env_steps'] == 100


def test_divergence_goes_back_to_the_last_checkpoint(tmp_path):
  changes = ASYNC | {
    'optimizer__dreamer__lr': 1e30,
    'optimizer__dreamer__warmup': 0,
    'train__on_divergence': 'rewind',
    'train__max_rewinds': 1,
  }
  result = launch([*arguments(tmp_path, **changes), '--mode=train'])
  assert result.status == 1
  assert 'Going back to the start with another seed' in result.out
  assert 'Training diverged' in result.err
