"""A run that is killed again and again ends like one that was not."""

import os
import random
import time

import pytest

from dreamer_nnx import paths
from dreamer_nnx.training.checkpoint import latest, load_meta
from tests.launcher import PLAIN, arguments, finish, spawn, spawn_all
from tests.test_resume import assert_same, state_of

KILLS = int(os.environ.get('DREAMER_KILLS', '3'))
# Of the time that a whole run takes: some of the kills meet a start.
DELAYS = (0.05, 0.4)
# Of two processes the second lives on for so many seconds at most.
APART = 0.5
OPTIONS = {
  'train__steps': 60 + 12 * KILLS,
  'train__save_every': 2,
  'train__train_ratio': 4.0,
  'replay__chunked__chunk_size': 8,
}
# As on a pod: an accelerator's form, and nothing in common but a bucket.
POD = OPTIONS | {
  'precision__compute': 'bfloat16',
  'precision__device': 'accelerator',
  'train__steps': 80 + 24 * KILLS,
  'train__save_every': 8,
  'train__batch_size': 4,
  'train__envs': 4,
  'mesh__data': 2,
  'mesh__fsdp': 2,
}


def start(workdir):
  return [spawn([*arguments(workdir, **OPTIONS), '--mode=train'])]


def start_pod(workdir):
  argv = [*arguments(workdir, **POD), '--mode=train']
  return spawn_all(argv, 2, 2, more=PLAIN)


def end(processes):
  for process in processes:
    result = finish(process)
    assert result.status == 0, result.out


def timed(start, workdir):
  """The seconds that a whole run takes, with all programs compiled."""
  begin = time.perf_counter()
  end(start(workdir))
  return time.perf_counter() - begin


def kill(processes, delay, dice):
  """Kills all of them, in any order; none if they end before the delay."""
  limit = time.monotonic() + delay
  while time.monotonic() < limit:
    if all(process.poll() is not None for process in processes):
      return end(processes)
    time.sleep(0.02)
  for process in dice.sample(processes, len(processes)):
    process.kill()
    if len(processes) > 1:
      time.sleep(dice.uniform(0, APART))
  for process in processes:
    process.communicate()


def killed(start, workdir, seconds):
  """Kills a run again and again, then has it end; prints how far it was."""
  dice, steps = random.Random(0), [0]
  for _ in range(KILLS):
    kill(start(workdir), dice.uniform(*DELAYS) * seconds, dice)
    steps.append(latest(workdir) or 0)
    # Whatever is there is whole: this reads and verifies it.
    if steps[-1]:
      assert load_meta(workdir)['counters']['env_steps'] == steps[-1]
  assert steps == sorted(steps)
  assert steps[-1] > 0
  end(start(workdir))
  print(f'steps after each of {KILLS} kills: {steps[1:]}')


def assert_same_end(one, other):
  assert_same(state_of(one), state_of(other))
  metas = [load_meta(path)['counters'] for path in (one, other)]
  assert metas[0] == metas[1]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('whole')
  return workdir, timed(start, workdir)


def test_killed_at_random_moments_it_resumes_and_ends_the_same(whole, tmp_path):
  finished, seconds = whole
  killed(start, tmp_path, seconds)
  assert_same_end(finished, tmp_path)


def test_so_do_two_processes_in_bfloat16_that_share_a_bucket(store, tmp_path):
  seconds = timed(start_pod, tmp_path / 'whole')
  bucket = paths.parse(f'gs://bkt/kills-{time.time_ns()}/run', '--workdir')
  killed(start_pod, bucket, seconds)
  assert_same_end(tmp_path / 'whole', bucket)
