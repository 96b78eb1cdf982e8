"""A run that is killed again and again ends like one that was not."""

import os
import random
import subprocess
import time

import pytest

from dreamer_nnx.training.checkpoint import latest, load_meta
from tests.launcher import arguments, finish, spawn
from tests.test_resume import assert_same, state_of

KILLS = int(os.environ.get('DREAMER_KILLS', '3'))
# Of the time that a whole run takes: some of the kills meet a start.
DELAYS = (0.05, 0.4)
OPTIONS = {
  'train__steps': 100 + 10 * KILLS,
  'train__save_every': 2,
  'train__train_ratio': 4.0,
  'replay__chunked__chunk_size': 8,
}


def start(workdir):
  return spawn([*arguments(workdir, **OPTIONS), '--mode=train'])


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  workdir, begin = tmp_path_factory.mktemp('whole'), time.perf_counter()
  assert finish(start(workdir)).status == 0
  return workdir, time.perf_counter() - begin


def test_killed_at_random_moments_it_resumes_and_ends_the_same(whole, tmp_path):
  (finished, seconds), delays, steps = whole, random.Random(0), [0]
  for _ in range(KILLS):
    process = start(tmp_path)
    try:
      # A run that ends before its time is over did not need to be killed.
      out, _ = process.communicate(timeout=delays.uniform(*DELAYS) * seconds)
      assert process.returncode == 0, out
    except subprocess.TimeoutExpired:
      process.kill()
      process.communicate()
    steps.append(latest(tmp_path) or 0)
    # Whatever is there is whole: this reads and verifies it.
    if steps[-1]:
      assert load_meta(tmp_path)['counters']['env_steps'] == steps[-1]
  assert steps == sorted(steps)
  assert steps[-1] > 0
  assert finish(start(tmp_path)).status == 0
  assert_same(state_of(finished), state_of(tmp_path))
  metas = [load_meta(path)['counters'] for path in (finished, tmp_path)]
  assert metas[0] == metas[1]
  print(f'steps after each of {KILLS} kills: {steps[1:]}')
