"""A run whose numbers are no longer finite ends, and keeps what was good."""

import json
import re

import jax
import numpy as np
import pytest

from dreamer_nnx import streams
from dreamer_nnx.streams import Stream
from dreamer_nnx.training.checkpoint import find, load_meta
from tests import breaking
from tests.launcher import arguments, finish, launch, spawn_all
from tests.plain import PLAIN
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
  'optimizer__poisoned__at': 30,
}
FLOAT16 = {
  'precision__compute': 'float16',
  'precision__device': 'accelerator',
  'train__save_every': 20,
  'train__report_every': 20,
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
    optimizer__poisoned__name='behavior/policy/',
    train__log_every=0,
  )
  assert result.status == 1
  assert 'in update 30 the norm of the parameter behavior/policy/' in result.err
  assert find(tmp_path).name == '20'


@pytest.mark.whole
def test_two_processes_stop_together(tmp_path):
  argv = arguments(
    tmp_path,
    **POISONED | {'optimizer__poisoned__at': 20},
    mesh__fsdp=2,
    train__batch_size=4,
    train__envs=4,
  )
  processes = spawn_all([*argv, '--mode=train'], 2, more=PLAIN)
  for result in [finish(x) for x in processes]:
    assert result.status == 1, result.out
    assert 'Training diverged: in update 20' in result.out
    assert 'Traceback' not in result.out


@pytest.fixture(scope='module')
def float16(tmp_path_factory):
  """An uninterrupted run of 60 steps in float16, which draws by priority."""
  workdir = tmp_path_factory.mktemp('float16')
  result = train(
    workdir, **FLOAT16, replay__chunked__selectors__names='uniform,priority'
  )
  assert result.status == 0, result.err
  return workdir


def test_float16_trains_and_reports(float16):
  saved = restored(float16)
  assert saved.step == 60 and int(saved.state['updates']) > 50
  assert saved.loop['carry|dynamics|deter'].dtype == np.float16
  lines = logged(float16)
  last = {name: value for line in lines for name, value in line.items()}
  for name in ('train/loss/dyn', 'train/opt/skipped', 'report/loss/policy'):
    assert np.isfinite(last[name]), name
  assert list((float16 / 'videos').glob('*.gif'))


def test_float16_resumes_bit_for_bit(float16, tmp_path):
  more = FLOAT16 | {'replay__chunked__selectors__names': 'uniform,priority'}
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
    replay__chunked__selectors__names='uniform,priority',
    train__steps=40,
    train__log_every=40,
  )
  assert result.status == 1, result.err
  # Halved from 1e4 to the smallest, 1e-4.
  assert 'in update 28 the loss rew was not finite' in result.err


ONCE = BREAKING | {
  'env__custom__make': 'tests.breaking:Once',
  'reward__head__name': 'mse',
  'train__on_divergence': 'rewind',
  'train__save_every': 10,
}


@pytest.fixture
def once():
  """A process whose environments have not gone wrong yet."""
  breaking.Once.steps = 0


def test_a_rewound_run_goes_on_from_the_last_checkpoint(once, tmp_path):
  result = train(tmp_path, **ONCE)
  assert result.status == 0, result.err
  (said,) = re.findall(r'Training diverged: .*', result.out)
  assert re.search(r'the loss rew was not finite, found at .* step 50\. ', said)
  assert said.endswith(
    'Going back to step 40 with another seed, time 1 of at most 3.'
  )
  counters = load_meta(tmp_path)['counters']
  assert (counters['env_steps'], counters['rewinds']) == (60, 1)
  assert load_meta(tmp_path)['config']['seed'] == 0
  state = state_of(tmp_path)
  assert all(np.isfinite(x).all() for x in state.values())
  assert state['diverged'].tolist() == [-1, -1]
  key = streams.key(streams.seed_of_start(0, 1), Stream.UPDATE)
  np.testing.assert_array_equal(state['key'], jax.random.key_data(key))
  lines = logged(tmp_path)
  assert [x['env_steps'] for x in lines if 'diverged/update' in x] == [50]
  assert [x['env_steps'] for x in lines if 'diverged/rewinds' in x] == [40]
  # It survives a resume.
  assert train(tmp_path, **ONCE, train__steps=70).status == 0
  assert load_meta(tmp_path)['counters']['rewinds'] == 1


def test_a_run_that_always_diverges_is_rewound_so_often_and_stops(tmp_path):
  result = train(
    tmp_path, **POISONED, train__on_divergence='rewind', train__max_rewinds=2
  )
  assert result.status == 1
  assert len(re.findall('Going back to the start', result.out)) == 2
  assert 'It went back 2 times, see config.train.max_rewinds.' in result.err
  assert 'Traceback' not in result.err


def test_two_processes_go_back_together(tmp_path):
  argv = arguments(
    tmp_path,
    **POISONED | {'optimizer__poisoned__at': 20},
    mesh__fsdp=2,
    train__batch_size=4,
    train__envs=4,
    train__save_every=20,
    train__on_divergence='rewind',
    train__max_rewinds=1,
  )
  processes = spawn_all([*argv, '--mode=train'], 2, more=PLAIN)
  for result in (results := [finish(x) for x in processes]):
    assert result.status == 1, result.out
    assert 'Training diverged: in update 20' in result.out
    assert 'It went back 1 times' in result.out
    assert 'Traceback' not in result.out
  assert len(re.findall('Going back to step', results[0].out)) == 1
