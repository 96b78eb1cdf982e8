"""What goes wrong around a run is told, within a minute, and loses nothing."""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from dreamer_nnx.training.checkpoint import find, load_meta
from tests.launcher import (
  LONG,
  ROOT,
  arguments,
  finish,
  launch,
  spawn,
  training,
)
from tests.plain import PLAIN
from tests.test_resume import assert_same, state_of

SECONDS = 60
# A checkpoint takes 1.4 MB and three are there while one is replaced.
DISK = '4m'


def flags(workdir, **changes):
  return [*arguments(workdir, **changes), '--mode=train']


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """A run with checkpoints at 30 and 60."""
  workdir = tmp_path_factory.mktemp('saved')
  result = launch(flags(workdir, train__save_every=30))
  assert result.status == 0, result.err
  return workdir


@pytest.fixture
def copy(saved, tmp_path):
  return shutil.copytree(saved, tmp_path / 'run')


def in_small_disk(workdir, *commands):
  """Runs shell commands beside a disk of their own that is soon full."""
  mount = f'mount -t tmpfs -o size={DISK} tmpfs {workdir}'
  script = '; '.join([mount, *commands])
  return subprocess.run(
    ['unshare', '--map-root-user', '--mount', 'sh', '-c', script],
    cwd=ROOT,
    env=os.environ | {'JAX_DISABLE_MOST_OPTIMIZATIONS': '0', 'XLA_FLAGS': ''},
    capture_output=True,
    text=True,
    timeout=LONG,
    check=False,
  )


def command(workdir, **changes):
  program = [sys.executable, '-m', 'dreamer_nnx.main']
  return ' '.join(
    f"'{word}'" for word in (*program, *flags(workdir, **changes))
  )


def test_a_full_disk_is_named_and_the_last_checkpoint_is_whole(tmp_path):
  often = command(tmp_path, train__save_every=4)
  done = in_small_disk(
    tmp_path,
    often,
    'echo "first $?"',
    f'ls {tmp_path}/checkpoints',
    f'mount -o remount,size=100m {tmp_path}',
    often,
    'echo "second $?"',
    f'ls {tmp_path}/checkpoints',
  )
  _, _, second = done.stdout.partition('first 2')
  assert second, done.stdout + done.stderr
  # This alone: neither what Orbax logs nor what its threads leave behind.
  (told,) = done.stderr.splitlines()
  assert re.match(r'checkpoint step \d+ was not saved in .*: No space', told)
  assert told.endswith('it goes on from the last checkpoint.')
  # A whole step is there, and the run goes on from it, to its end.
  assert re.match(r'\n\d+\n', second)
  assert 'second 0' in second and '\n60\n' in second.partition('second 0')[2]


def test_a_read_only_workdir_is_named(tmp_path):
  done = in_small_disk(
    tmp_path, f'mount -o remount,ro {tmp_path}', command(tmp_path), 'echo "$?"'
  )
  assert done.stdout.strip() == '2'
  assert f'--workdir={tmp_path}: cannot be written (Read-only' in done.stderr


def test_a_jumping_clock_changes_nothing(saved, tmp_path):
  often = flags(tmp_path, train__save_every=30)
  result = finish(spawn(often, 'tests.jumping_clock', PLAIN))
  assert result.status == 0, result.out
  assert load_meta(tmp_path)['counters'] == load_meta(saved)['counters']


def test_a_workdir_takes_one_run_at_a_time(tmp_path):
  first = spawn(flags(tmp_path, train__steps=1_000_000), more=PLAIN)
  training(first)
  before = time.monotonic()
  second = launch(flags(tmp_path))
  assert time.monotonic() - before < SECONDS
  assert second.status == 2
  assert f'--workdir={tmp_path}: process {first.pid} on ' in second.err
  assert 'trains in it' in second.err
  first.kill()
  first.communicate()
  # The lock of a process that is gone is nobody's.
  assert launch(flags(tmp_path, train__steps=20)).status == 0


def test_evaluating_touches_nothing_of_a_run_that_saves(copy):
  pending = copy / 'checkpoints' / '90.orbax-checkpoint-tmp-1' / 'state'
  pending.mkdir(parents=True)
  (pending / 'part').write_text('half')
  argv = [*arguments(copy), '--mode=evaluate']
  assert launch(argv).status == 0
  assert (pending / 'part').read_text() == 'half'


def damage(step):
  file = max((step / 'state').rglob('*'), key=lambda p: p.stat().st_size)
  file.write_bytes(file.read_bytes()[:-9])


@pytest.mark.parametrize(
  'harm, message',
  [
    (damage, 'step 60 in .* is damaged: state/.* bytes of'),
    (lambda step: shutil.rmtree(step / 'meta'), "damaged: 'meta' is missing"),
    (
      lambda step: (step.parent / '90').mkdir(),
      "step 90 in .* is damaged: 'state' is missing",
    ),
  ],
)
def test_a_damaged_newest_step_is_refused_and_an_older_one_offered(
  copy, harm, message
):
  harm(copy / 'checkpoints' / '60')
  result = launch(flags(copy))
  assert result.status == 2
  assert re.search(message, result.err)
  assert 'Other steps there: ' in result.err
  assert '--restore_step goes on from one.' in result.err
  steps = sorted(path.name for path in (copy / 'checkpoints').iterdir())
  assert {'30', '60'} <= set(steps)


def test_an_older_step_can_be_gone_on_from_with_the_same_future(saved, copy):
  damage(copy / 'checkpoints' / '60')
  result = launch([*flags(copy, train__save_every=30), '--restore_step=30'])
  assert result.status == 0, result.err
  assert_same(state_of(saved), state_of(copy))
  assert find(copy).name == '60'


def test_a_step_that_is_not_there_changes_nothing(copy):
  result = launch([*flags(copy), '--restore_step=45'])
  assert result.status == 2
  assert 'holds no checkpoint step 45. Steps there: 30, 60.' in result.err
  assert find(copy).name == '60'


@pytest.mark.parametrize(
  'wrong, message',
  [
    (['--coordinator_address=a:1'], 'is of --distributed, which is not'),
    (['--distributed', '--num_processes=2'], 'give all three, or none'),
    (
      [
        '--distributed',
        '--coordinator_address=a:1',
        '--num_processes=2',
        '--process_id=2',
      ],
      r'--process_id = 2: must be in \[0, 2\)',
    ),
    (['--distributed'], '--distributed: the processes cannot be joined'),
  ],
)
def test_wrong_flags_of_many_processes_are_one_message(
  tmp_path, wrong, message
):
  result = finish(spawn([*flags(tmp_path), *wrong]))
  assert result.status == 2
  assert re.search(message, result.out)
  assert 'Traceback' not in result.out
