"""A run whose numbers are no longer finite ends, and keeps what was good."""

import json
import re

import numpy as np
import pytest

from dreamer_nnx.training.checkpoint import find, load_meta
from tests.launcher import arguments, finish, launch, spawn_all
from tests.test_resume import assert_same, restored, state_of

BREAKING = {
  'env__name': 'custom',
  'env__custom__workers': 'sync',
  'encoder__simple__units': 8,
  'decoder__simple__units': 8,
  'train__save_every': 20,
}
POISONED = {
  'optimizer__name': 'tests.breaking:poisoned',
  'optimizer__poisoned__at': 100,
}
FLOAT16 = {
  'precision__compute': 'float16',
  'precision__device': 'accelerator',
  'train__save_every': 20,
  'train__report_every': 20,
  'policy__layers': 1,
  'value__layers': 1,
  'dynamics__rssm__imglayers': 1,
}


def train(workdir, mode='train', **changes):
  return launch([*arguments(workdir, **changes), f'--mode={mode}'])


def contents(workdir):
  """Bytes of all files of the latest checkpoint, by name."""
  root = find(workdir)
  files = (x for x in root.rglob('*') if x.is_file())
  return {x.relative_to(root): x.read_bytes() for x in files}


def logged(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def test_a_huge_learning_rate_stops_the_run_and_keeps_the_last_good_one(
  tmp_path,
):
  assert train(tmp_path, train__steps=40).status == 0
  before = contents(tmp_path)
  rate = {'optimizer__dreamer__lr': 1e30, 'optimizer__dreamer__warmup': 0}
  result = train(tmp_path, train__save_every=4, **rate)
  assert result.status == 1
  assert re.fullmatch(
    r'Training diverged: in update \d+ the norm of the parameter \S+ was not '
    r'finite, found at environment step 44\. No checkpoint was written since\. '
    r'The last good one is step 40 in \S+ Try a smaller learning '
    r'rate, in config\.optimizer, and run the same command again; '
    r'config\.train\.on_divergence=rewind goes back by itself\.\n',
    result.err,
  )
  assert contents(tmp_path) == before
  last = logged(tmp_path)[-1]
  assert last['env_steps'] == 44 and last['diverged/update'] > 0
  # A number that is not finite is null in JSON.
  assert last['train/loss/dyn'] is None
  assert train(tmp_path).status == 0
  assert load_meta(tmp_path)['counters']['env_steps'] == 60


@pytest.mark.parametrize('compute', ['float32', 'bfloat16'])
def test_rewards_beyond_the_format_of_a_loss_are_named(tmp_path, compute):
  result = train(
    tmp_path,
    **BREAKING,
    env__custom__make='tests.breaking:Huge',
    reward__head__name='mse',
    precision__compute=compute,
  )
  assert result.status == 1
  assert 'in update 1 the loss rew was not finite' in result.err
  assert 'There is none before it.' in result.err
  assert not list((tmp_path / 'checkpoints').glob('[0-9]*'))


def test_nan_actions_of_a_spoilt_policy_are_no_fault_of_the_environment(
  tmp_path,
):
  result = train(
    tmp_path,
    **BREAKING | POISONED,
    env__custom__make='tests.breaking:Continuous',
    optimizer__poisoned__name='policy/',
    train__log_every=0,
  )
  assert result.status == 1
  assert 'in update 100 the norm of the parameter policy/' in result.err
  assert [step for step in (20, 40) if find(tmp_path, step)] == [20, 40]


def test_two_processes_stop_together(tmp_path):
  argv = arguments(
    tmp_path, train__batch_size=4, train__envs=4, **POISONED, mesh__fsdp=2
  )
  results = [finish(x) for x in spawn_all([*argv, '--mode=train'], 2)]
  for result in results:
    assert result.status == 1, result.out
    assert 'Training diverged: in update 100' in result.out
    assert 'Traceback' not in result.out


@pytest.fixture(scope='module')
def float16(tmp_path_factory):
  """An uninterrupted run of 60 steps in float16, which draws by priority."""
  workdir = tmp_path_factory.mktemp('float16')
  result = train(workdir, **FLOAT16, replay__chunked__priority=1.0)
  assert result.status == 0, result.err
  return workdir


def test_float16_trains_and_reports(float16):
  saved = restored(float16)
  assert saved.step == 60 and int(saved.state['updates']) > 50
  assert saved.loop['carry|latent|deter'].dtype == np.float16
  lines = logged(float16)
  last = {name: value for line in lines for name, value in line.items()}
  for name in ('train/loss/dyn', 'train/opt/skipped', 'report/loss/policy'):
    assert np.isfinite(last[name]), name
  assert list((float16 / 'videos').glob('*.gif'))


def test_float16_resumes_bit_for_bit(float16, tmp_path):
  more = FLOAT16 | {'replay__chunked__priority': 1.0}
  for steps in (30, 60):
    assert train(tmp_path, **more, train__steps=steps).status == 0
  assert_same(state_of(float16), state_of(tmp_path))


def test_float16_is_evaluated_from_its_path_alone(float16):
  result = launch([f'--workdir={float16}', '--mode=evaluate'])
  assert result.status == 0, result.err
  assert 'Return trained, greedy' in result.out


def test_overflows_are_skipped_and_their_priorities_left_out(tmp_path):
  result = train(
    tmp_path,
    **BREAKING | FLOAT16,
    env__custom__make='tests.breaking:Huge',
    reward__head__name='mse',
    replay__chunked__priority=1.0,
    train__steps=40,
    train__train_ratio=8.0,
    train__log_every=40,
  )
  assert result.status == 1, result.err
  # Halved from 1e4 to the smallest, 1e-4.
  assert 'in update 28 the loss rew was not finite' in result.err
