"""A run whose workdir is in a bucket, from its start to its end."""

import json
import time

import pytest

import dreamer_nnx
from dreamer_nnx import paths
from dreamer_nnx.training.checkpoint import latest
from tests import buckets
from tests.launcher import (
  ROOT,
  arguments,
  finish,
  launch,
  running,
  spawn,
)
from tests.plain import PLAIN
from tests.test_resume import assert_same, state_of

SAVES = {'train__save_every': 20, 'checkpoint__keep_last': 3}


def flags(workdir, *more, **changes):
  return [*arguments(workdir, **SAVES | changes), '--mode=train', *more]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """An uninterrupted run on a disk."""
  workdir = tmp_path_factory.mktemp('whole')
  result = launch(flags(workdir))
  assert result.status == 0, result.err
  return workdir


@pytest.fixture(scope='module')
def run(store, tmp_path_factory):
  """A run in a bucket, killed after its first save and started again."""
  name = tmp_path_factory.mktemp('run').name
  workdir = paths.parse(f'gs://bkt/{name}/a run ü', '--workdir')
  process = spawn(flags(workdir), more=PLAIN)
  while not latest(workdir):
    running(process)
    time.sleep(0.1)
  process.kill()
  process.communicate()
  result = finish(spawn(flags(workdir), more=PLAIN))
  assert result.status == 0, result.out
  return workdir


def test_killed_it_ends_like_one_on_a_disk(whole, run):
  assert_same(state_of(whole), state_of(run))
  assert not list(ROOT.glob('gs:*'))
  lines = (run / 'metrics.jsonl').read_bytes().splitlines()
  steps = {json.loads(line)['env_steps'] for line in lines}
  assert steps == {20, 40, 60}
  names = paths.walk(run).keys()
  assert '.lock' not in names
  assert any(name.startswith('replay/') for name in names)


def test_it_is_evaluated_and_started_from_where_it_is(run, tmp_path):
  result = launch([f'--workdir={run}', '--mode=evaluate'])
  assert result.status == 0, result.err
  assert f'checkpoints: {run}' in result.out
  (name,) = (x for x in paths.walk(run) if x.startswith('evaluations_'))
  assert b'eval/return' in (run / name).read_bytes()
  more = [f'--restore={run}', '--restore_step=40']
  result = launch(flags(tmp_path, *more, train__steps=4))
  assert result.status == 0, result.err
  assert 'Restored' in result.out


def test_its_policy_is_loaded_from_there(run):
  policy = dreamer_nnx.load_policy(str(run))
  obs = {key: x.low for key, x in policy.obs_space.spaces.items()}
  action, _ = policy(obs)
  assert policy.action_space.contains(action)


def test_it_goes_back_and_marks_what_is_superseded(run):
  copy = copy_of(run)
  result = launch(flags(copy, '--restore_step=40', train__steps=44))
  assert result.status == 0, result.err
  assert latest(copy) == 44
  assert (copy / 'checkpoints' / '60' / 'commit_success.txt').exists()


def copy_of(run):
  """The same objects in another folder."""
  target = run.parent / f'copy {time.time_ns()}'
  for name in paths.walk(run):
    paths.write(target / name, (run / name).read_bytes())
  return target


@pytest.mark.parametrize(
  'harm, message',
  [
    (lambda data: data[:-9], 'bytes of'),
    (lambda data: b'\0' * len(data), 'has changed since it was saved'),
    (None, 'is missing'),
  ],
)
def test_a_damaged_object_is_named_and_an_older_step_offered(
  run, harm, message
):
  copy = copy_of(run)
  root = copy / 'checkpoints' / '60'
  found = {k: v for k, v in paths.walk(root).items() if k.startswith('state/d')}
  name = max(found, key=lambda name: found[name].size)
  data = (root / name).read_bytes()
  paths.write(root / name, harm(data)) if harm else (root / name).unlink()
  result = launch(flags(copy))
  assert result.status == 2
  assert f'step 60 in {copy}/checkpoints is damaged: {name}' in result.err
  assert message in result.err and 'Other steps there: ' in result.err


def test_a_save_that_was_cut_off_is_no_step(run):
  copy = copy_of(run)
  (copy / 'checkpoints' / '60' / 'commit_success.txt').unlink()
  assert latest(copy) == 40


def through(proxy, *argv):
  return finish(spawn([*argv], more=PLAIN | buckets.variables(proxy.port)))


def told(result):
  """What a user is told, without what clients say of credentials."""
  return [x for x in result.out.splitlines() if 'credentials' not in x.lower()]


def test_a_bucket_that_refuses_is_one_line(store):
  with buckets.Proxy(store, lambda method, path: 403) as proxy:
    result = through(proxy, *flags('gs://bkt/refused'))
  assert result.status == 2, result.out
  assert told(result)[-1].startswith('--workdir=gs://bkt/refused: the bucket ')
  assert 'Traceback' not in result.out


def test_one_that_is_not_there_for_a_while_is_tried_again(store, whole):
  refused = []

  def answer(method, path):
    # Every third request, at first.
    refused.append(path)
    return 503 if len(refused) < 60 and len(refused) % 3 == 0 else None

  with buckets.Proxy(store, answer) as proxy:
    result = through(proxy, *flags('gs://bkt/tried'))
  assert result.status == 0, result.out
  assert_same(state_of(whole), state_of('gs://bkt/tried'))


def test_one_that_refuses_meanwhile_ends_the_run_in_a_line(store):
  saved = []

  def answer(method, path):
    writes = method in ('POST', 'PUT')
    if writes and 'commit_success' in path:
      saved.append(path)
    return 403 if saved and writes else None

  with buckets.Proxy(store, answer) as proxy:
    result = through(proxy, *flags('gs://bkt/meanwhile'))
  assert result.status == 2, result.out
  assert (
    'checkpoint step 20 was not saved in gs://bkt/meanwhile'
    in (told(result)[-1])
  )
  assert 'Traceback' not in result.out


def test_a_slow_one_does_not_stop_training(store, whole):
  begun = []

  def answer(method, path):
    if method == 'POST' and 'replay' in path:
      begun.append(path)
      if len(begun) == 2:
        time.sleep(15)

  changes = {'checkpoint__patience': 0.0, 'train__log_every': 4}
  with buckets.Proxy(store, answer) as proxy:
    result = through(proxy, *flags('gs://bkt/slow', **changes))
  assert result.status == 0, result.out
  told = 'step 20 is still being written to gs://bkt/slow/checkpoints'
  # At 40, where the next save was due.
  assert result.out.index(told) < result.out.index('slow: 44 env steps')
  assert 'slow: 56 env steps' in result.out
  assert_same(state_of(whole), state_of('gs://bkt/slow'))
