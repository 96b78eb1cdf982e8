"""A command that is given again, after a kill, does not start over."""

import shutil
import time

import pytest

from dreamer_nnx.training.checkpoint import latest, load_meta
from tests.launcher import arguments, launch, running, spawn, training
from tests.plain import PLAIN
from tests.proprio import SIZES, write_reference
from tests.test_resume import assert_same, state_of

STEPS = {'train__save_every': 20, 'checkpoint__keep_last': 4}


def flags(workdir, *more, **changes):
  argv = arguments(workdir, **STEPS | changes)
  return [*argv, '--mode=train', *more]


def train(workdir, *more, **changes):
  result = launch(flags(workdir, *more, **changes))
  assert result.status == 0, result.err
  return result


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  """A run with checkpoints at 20, 40 and 60."""
  workdir = tmp_path_factory.mktemp('source')
  train(workdir)
  return workdir


def killed(workdir, *more, after=None, **changes):
  """Kills a run before its first save, or soon after one behind a step.

  Returns:
    The latest step then.
  """
  if after is None:
    changes |= {'train__steps': 1_000_000, 'train__save_every': 1_000_000}
  argv = flags(workdir, *more, **changes)
  # Compiled like the runs of this process, whose bits they are to have.
  process = spawn(argv, more=PLAIN)
  if after is None:
    training(process)
  while after is not None and (latest(workdir) or 0) <= after:
    running(process)
    time.sleep(0.02)
  process.kill()
  process.communicate()
  return latest(workdir)


def test_restore_killed_and_started_again_goes_on(source, tmp_path):
  more = [f'--restore={source}', '--restore_include=^(encoder|dynamics)/']
  whole, run = tmp_path / 'whole', tmp_path / 'run'
  train(whole, *more)
  assert killed(run, *more) is None
  step = killed(run, *more, after=0)
  result = train(run, *more)
  assert f'was started by --restore={source}' in result.out
  assert f'goes on from step {step}' in result.out
  assert 'Restored' not in result.out
  assert_same(state_of(whole), state_of(run))
  other = launch(flags(run, f'--restore={whole}'))
  assert other.status == 2 and other.err.count('\n') == 1
  assert f'--restore={source}' in other.err
  assert f'--restore={whole}' in other.err
  again = train(run, f'--restore={whole}', '--restore_again', train__steps=20)
  assert 'Restored' in again.out and latest(run) == 20


def test_an_import_killed_and_started_again_goes_on(tmp_path):
  more = [f'--import_reference={write_reference(tmp_path / "log")}']
  run = tmp_path / 'run'
  assert killed(run, *more, **SIZES) is None
  step = killed(run, *more, after=0, **SIZES)
  result = train(run, *more, **SIZES)
  assert 'was started by --import_reference=' in result.out
  assert f'goes on from step {step}' in result.out
  assert latest(run) == 60
  other = launch(flags(run, '--import_reference=/other', **SIZES))
  assert other.status == 2 and other.err.count('\n') == 1
  assert f'{more[0]}' in other.err and 'reference=/other' in other.err


def test_going_back_killed_and_started_again_goes_on(source, tmp_path):
  workdir = shutil.copytree(source, tmp_path / 'run')
  process = spawn(flags(workdir, '--restore_step=40'), more=PLAIN)
  while latest(workdir) != 40:
    running(process)
    time.sleep(0.02)
  process.kill()
  process.communicate()
  assert latest(workdir) == 40
  step = killed(workdir, '--restore_step=40', after=40, train__save_every=8)
  result = train(workdir, '--restore_step=40')
  assert 'went back to step 40 before' in result.out
  assert f'it goes on from step {step}' in result.out
  assert_same(state_of(source), state_of(workdir))
  other = launch(flags(workdir, '--restore_step=48'))
  assert other.status == 2 and other.err.count('\n') == 1
  again = train(
    workdir, '--restore_step=40', '--restore_again', train__steps=44
  )
  assert 'before' not in again.out and latest(workdir) == 44


def test_the_config_is_that_of_the_step_gone_on_from(source, tmp_path):
  workdir = shutil.copytree(source, tmp_path / 'run')
  train(workdir, train__steps=80, train__log_every=7, train__save_every=80)
  same = [f'--workdir={workdir}', '--mode=train', '--restore_step=60']
  assert launch([*same, '--config.train.steps=64']).status == 0
  config = load_meta(workdir)['config']['train']
  assert (config['log_every'], config['steps']) == (20, 64)
  # Its own step is gone meanwhile; the command is still the same.
  shutil.rmtree(workdir / 'checkpoints' / '60')
  result = launch([*same, '--config.train.steps=68'])
  assert result.status == 0, result.err
  assert latest(workdir) == 68
