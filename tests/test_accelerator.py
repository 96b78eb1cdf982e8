"""Runs as an accelerator computes them: in bfloat16 and in its form.

Everything here runs on a CPU, where XLA compiles the same program.
"""

import json
import re
import shutil

import numpy as np
import pytest

from dreamer_nnx.run import saved_config
from dreamer_nnx.training.checkpoint import load_meta
from tests.launcher import arguments, finish, launch, spawn, spawn_all
from tests.plain import PLAIN
from tests.test_resume import assert_same, restored, state_of
from tests.training.elastic import digests

FORM = {
  'precision__compute': 'bfloat16',
  'precision__device': 'accelerator',
  'train__save_every': 20,
  'train__report_every': 20,
}
PAIR = {'train__batch_size': 4, 'train__envs': 4, 'train__train_ratio': 4.0}


def train(workdir, **changes):
  argv = arguments(workdir, **FORM | changes)
  result = finish(spawn([*argv, '--mode=train'], more=PLAIN))
  assert result.status == 0, result.out
  return result


def train_pair(workdir, **changes):
  argv = arguments(workdir, **FORM | PAIR | changes)
  for process in spawn_all([*argv, '--mode=train'], 2, 2, more=PLAIN):
    result = finish(process)
    assert result.status == 0, result.out


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """An uninterrupted run of 60 steps."""
  workdir = tmp_path_factory.mktemp('whole')
  train(workdir)
  return workdir


def test_it_computes_in_bfloat16_and_saves_its_carry_so(whole):
  saved = restored(whole)
  assert saved.step == 60 and int(saved.state['updates']) > 50
  formats = {name: str(value.dtype) for name, value in saved.loop.items()}
  assert formats['carry|dynamics|deter'] == 'bfloat16'
  assert formats['train|dynamics|stoch'] == 'bfloat16'
  assert all(np.isfinite(x).all() for x in saved.loop.values())


def test_losses_and_reports_are_logged_as_numbers(whole):
  lines = (whole / 'metrics.jsonl').read_text().splitlines()
  logged = [json.loads(line) for line in lines]
  assert {line['env_steps'] for line in logged} == {20, 40, 60}
  last = {name: value for line in logged for name, value in line.items()}
  for name in ('train/loss/dyn', 'train/loss/image', 'report/loss/policy'):
    assert np.isfinite(last[name]), name
  assert len(list((whole / 'videos').glob('*.gif'))) >= 2


@pytest.mark.whole
def test_resumed_run_equals_the_uninterrupted_one(whole, tmp_path):
  train(tmp_path, train__steps=30)
  train(tmp_path)
  assert_same(state_of(whole), state_of(tmp_path))
  metas = [load_meta(workdir)['counters'] for workdir in (whole, tmp_path)]
  assert metas[0] == metas[1]


def test_its_checkpoint_is_evaluated_from_its_path_alone(whole):
  result = launch([f'--workdir={whole}', '--mode=evaluate'])
  assert result.status == 0, result.err
  assert 'Return trained, greedy' in result.out
  assert saved_config(whole).precision.compute == 'bfloat16'


def test_it_goes_on_in_the_form_of_the_cpu_and_back(whole, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(whole, workdir)
  before = state_of(whole)
  cpu = {'precision__compute': 'float32', 'precision__device': 'cpu'}
  train(workdir, **cpu, train__steps=64)
  saved = restored(workdir)
  assert saved.step == 64
  assert saved.state.keys() <= before.keys()
  assert saved.loop['carry|dynamics|deter'].dtype == np.float32
  train(workdir, train__steps=68)
  assert restored(workdir).step == 68


def test_it_goes_on_exactly_on_another_mesh(whole, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(whole, workdir)
  mesh = {'mesh__data': 1, 'mesh__fsdp': 2, 'mesh__tensor': 2}
  flags = arguments(workdir, **FORM | mesh | {'train__steps': 68})
  flags = [flag for flag in flags if flag.startswith('--config.')]
  argv = [str(workdir), *flags]
  (process,) = spawn_all(argv, 1, 4, 'tests.training.elastic', PLAIN)
  result = finish(process)
  assert result.status == 0, result.out
  shown = json.loads(re.search(r'^\{.*\}$', result.out, re.M)[0])
  assert shown['mesh'] == {'data': 1, 'fsdp': 2, 'tensor': 2}
  assert shown['state'] == digests(restored(whole).state)
  assert restored(workdir).step == 68


@pytest.mark.whole
def test_two_processes_resume_bit_for_bit(tmp_path):
  one, other = tmp_path / 'one', tmp_path / 'other'
  fsdp = {'mesh__data': 2, 'mesh__fsdp': 2}
  train_pair(one, **fsdp)
  train_pair(other, **fsdp, train__steps=32)
  train_pair(other, **fsdp)
  assert_same(state_of(one), state_of(other))
  metas = [load_meta(path)['counters'] for path in (one, other)]
  assert metas[0] == metas[1]
