"""A run that is killed again and again ends like one that was not."""

import os
import random
import time

import pytest

from dreamer_nnx import paths
from dreamer_nnx.training.checkpoint import latest, load_meta
from tests.launcher import arguments, finish, spawn, spawn_all
from tests.plain import PLAIN
from tests.test_resume import assert_same, state_of

KILLS = int(os.environ.get('DREAMER_KILLS', '3'))
# After a save.
POD_KILLS = int(os.environ.get('DREAMER_KILLS', '1'))
# Seconds at most behind what a kill waits for; and of a start, when it is met.
LATE, STARTS = 1.0, (0.5, 8.0)
# Of two processes the second lives on for so many seconds at most.
APART = 0.5
OPTIONS = {
  'train__steps': 100 + 20 * KILLS,
  'train__save_every': 2,
  'train__train_ratio': 4.0,
  'replay__chunked__chunk_size': 8,
}
# As on a pod: an accelerator's form, and nothing in common but a bucket.
POD = OPTIONS | {
  'precision__compute': 'bfloat16',
  'precision__device': 'accelerator',
  'train__steps': 56 + 24 * POD_KILLS,
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


def check_running(processes):
  """Fails with what they printed where one of them is over."""
  if all(process.poll() is None for process in processes):
    return
  for process in processes:
    process.kill()
  results = [finish(process) for process in processes]
  pytest.fail('\n'.join(f'{status}: {out}' for status, out, _ in results))


def kill(processes, ready, dice):
  """Kills all of them, in any order, a moment after they are `ready`."""
  while not ready():
    check_running(processes)
    time.sleep(0.1)
  time.sleep(dice.uniform(0, LATE))
  # What is over cannot be killed: it would not count.
  check_running(processes)
  for process in dice.sample(processes, len(processes)):
    process.kill()
    if len(processes) > 1:
      time.sleep(dice.uniform(0, APART))
  for process in processes:
    process.communicate()


def killed(start, workdir, kills, last):
  """Kills a run again and again, then has it end; prints how far it was.

  Two of three times it is killed when it has saved more than the time before,
  and else while it starts.
  """
  dice, steps = random.Random(0), [0]
  for count in range(kills):
    processes, met = start(workdir), time.monotonic() + dice.uniform(*STARTS)
    if count % 3 == 1:
      ready = lambda met=met: time.monotonic() > met
    else:
      ready = lambda before=steps[-1]: (latest(workdir) or 0) > before
    kill(processes, ready, dice)
    steps.append(latest(workdir) or 0)
    # Whatever is there is whole: this reads and verifies it.
    if steps[-1]:
      assert load_meta(workdir)['counters']['env_steps'] == steps[-1]
  assert steps == sorted(steps)
  # None met a run that had saved all of its steps.
  assert 0 < steps[-1] < last
  end(start(workdir))
  print(f'steps after each of {kills} kills: {steps[1:]}')


def assert_same_end(one, other):
  assert_same(state_of(one), state_of(other))
  metas = [load_meta(path) for path in (one, other)]
  assert metas[0]['counters'] == metas[1]['counters']
  states = [[state['envs'] for state in meta['processes']] for meta in metas]
  assert states[0] == states[1]


# `test_starts` kills one before its first save, and one after it.
@pytest.mark.whole
def test_killed_at_random_moments_it_resumes_and_ends_the_same(tmp_path):
  end(start(tmp_path / 'whole'))
  killed(start, tmp_path / 'run', KILLS, OPTIONS['train__steps'])
  assert_same_end(tmp_path / 'whole', tmp_path / 'run')


def test_so_do_two_processes_in_bfloat16_that_share_a_bucket(store, tmp_path):
  end(start_pod(tmp_path / 'whole'))
  bucket = paths.parse(f'gs://bkt/kills-{time.time_ns()}/run', '--workdir')
  killed(start_pod, bucket, POD_KILLS, POD['train__steps'])
  assert_same_end(tmp_path / 'whole', bucket)
