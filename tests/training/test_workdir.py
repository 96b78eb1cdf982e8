"""A start that fails leaves no trace, and runs do not live in each other."""

import functools
import json
import time

import aiohttp
import gcsfs
import pytest

from dreamer_nnx import paths
from dreamer_nnx.training import lease as leases
from dreamer_nnx.training import workdir as workdirs
from dreamer_nnx.training.record import Record
from dreamer_nnx.training.workdir import WorkdirError, lock_workdir


class StartError(Exception):
  pass


def start(workdir, keep):
  """Leaves what a run leaves, and fails."""
  with lock_workdir(workdir) as owner:
    Record(source={}, back=3).write(workdir / 'checkpoints')
    for name in ('replay/pool/file', 'replay/9.data', 'metrics.jsonl'):
      file = workdir / name
      file.parent.mkdir(parents=True, exist_ok=True)
      file.write_text('new')
    if keep:
      owner.keep()
    raise StartError


def contents(folder):
  return {name: (folder / name).read_bytes() for name in paths.walk(folder)}


def test_a_failed_start_leaves_no_new_folder(tmp_path):
  with pytest.raises(StartError):
    start(tmp_path / 'a' / 'b', keep=False)
  assert not list(tmp_path.iterdir())


def test_a_failed_start_leaves_a_folder_that_was_there(tmp_path):
  (tmp_path / 'notes').write_text('mine')
  with pytest.raises(StartError):
    start(tmp_path, keep=False)
  assert contents(tmp_path) == {'notes': b'mine'}


def test_a_failed_start_in_a_bucket_leaves_nothing(store, tmp_path):
  workdir = paths.parse(f'gs://bkt/{tmp_path.name}/run', 'path')
  with pytest.raises(StartError):
    start(workdir, keep=False)
  assert not contents(workdir.parent)


@pytest.mark.parametrize('place', ['', 'gs://bkt'])
def test_a_failed_start_leaves_a_run_as_it_was(store, tmp_path, place):
  workdir = paths.parse(f'{place}{tmp_path}/run', 'path')
  with pytest.raises(StartError):
    start(workdir, keep=True)
  Record(source={}, back=7).write(workdir / 'checkpoints')
  (workdir / 'replay' / '9.data').unlink()
  before = contents(workdir)
  with pytest.raises(StartError):
    start(workdir, keep=False)
  after = contents(workdir)
  # Who held the lock last stands in it; that of a bucket is removed.
  for found in (before, after):
    assert bool(found.pop('.lock', b'')) == (not place)
  assert before and after == before


def test_what_an_evaluation_wrote_meanwhile_stays(tmp_path):
  with pytest.raises(StartError), lock_workdir(tmp_path):
    (tmp_path / 'evaluations.jsonl').write_text('{}')
    raise StartError
  assert contents(tmp_path) == {'evaluations.jsonl': b'{}'}


def test_a_run_that_started_keeps_what_it_has(tmp_path):
  with pytest.raises(StartError):
    start(tmp_path / 'a', keep=True)
  assert (tmp_path / 'a' / 'replay' / '9.data').read_text() == 'new'


def test_a_lock_that_is_removed_while_it_is_taken_is_not_held(
  tmp_path, monkeypatch
):
  real = workdirs.fcntl.flock

  def flock(file, how):
    real(file, how)
    (tmp_path / '.lock').unlink()

  monkeypatch.setattr(workdirs.fcntl, 'flock', flock)
  taken = pytest.raises(WorkdirError, match='another process trains in it')
  with taken, lock_workdir(tmp_path):
    raise AssertionError


@pytest.fixture
def run(tmp_path):
  """What `_check_place` sees of a run with one step."""
  Record(source={}).write(tmp_path / 'run' / 'checkpoints')
  for item in ('state', 'meta'):
    (tmp_path / 'run' / 'checkpoints' / '10' / item).mkdir(parents=True)
  (tmp_path / 'run' / 'replay').mkdir()
  return tmp_path / 'run'


@pytest.mark.parametrize(
  ('below', 'what'),
  [
    ('checkpoints', 'the checkpoints'),
    ('checkpoints/new', 'the checkpoints'),
    ('checkpoints/10', 'a checkpoint'),
    ('checkpoints/10/new/er', 'a checkpoint'),
    ('replay', "the folder 'replay'"),
    ('videos/new', "the folder 'videos'"),
  ],
)
def test_a_workdir_within_another_run_is_refused(run, below, what):
  before = sorted(run.rglob('*'))
  with pytest.raises(WorkdirError) as error, lock_workdir(run / below):
    raise AssertionError
  assert str(error.value) == (
    f'--workdir={run / below}: is part of {what} of the run in {run}. Name '
    'that run, or a folder elsewhere.'
  )
  assert sorted(run.rglob('*')) == before


@pytest.mark.parametrize('below', ['', 'seed1', '../checkpoints/a', '../other'])
def test_a_workdir_beside_another_run_is_not(run, below):
  with lock_workdir((run / below).resolve()) as owner:
    owner.keep()


@pytest.mark.parametrize('place', ['', 'gs://bkt'])
def test_a_failed_start_leaves_what_evaluations_wrote_meanwhile(
  store, tmp_path, place
):
  workdir = paths.parse(f'{place}{tmp_path}/run', 'path')
  with pytest.raises(StartError), lock_workdir(workdir):
    paths.write(workdir / 'evaluations_17.jsonl', b'{}')
    paths.write(workdir / 'evaluations_17.txt', b'{}')
    raise StartError
  assert contents(workdir) == {'evaluations_17.jsonl': b'{}'}


def test_a_failed_start_leaves_what_a_run_saved_at_its_end(
  store, tmp_path, monkeypatch
):
  workdir = paths.parse(f'gs://bkt/{tmp_path.name}/run', 'path')
  owner = {'owner': 'another', 'host': 'there', 'pid': 1}
  paths.write(workdir / '.lock', json.dumps(owner).encode())
  Record(source={}).write(workdir / 'checkpoints')

  class Clock:
    """Time in which the other run saves and ends."""

    monotonic = time.monotonic

    def sleep(self, seconds):
      for name in ('checkpoints/100/state', 'replay/9.data', 'config.json'):
        paths.write(workdir / name, b'saved')
      Record(source={}, back=100).write(workdir / 'checkpoints')
      (workdir / '.lock').unlink()

  lease = functools.partial(leases.Lease, clock=Clock())
  monkeypatch.setattr(leases, 'Lease', lease)
  with pytest.raises(StartError):
    start(workdir, keep=False)
  assert contents(workdir).keys() == {
    'checkpoints/100/state',
    'checkpoints/start.json',
    'config.json',
    'replay/9.data',
  }
  assert Record.read(workdir / 'checkpoints').back == 100


def test_an_error_stays_the_one_to_tell_in_a_bucket_that_is_gone(
  store, tmp_path, monkeypatch
):
  async def request(*args, **kwargs):
    raise aiohttp.ServerDisconnectedError

  workdir = paths.parse(f'gs://bkt/{tmp_path.name}/run', 'path')
  with pytest.raises(StartError), lock_workdir(workdir):
    monkeypatch.setattr(gcsfs.core.GCSFileSystem, '_request', request)
    raise StartError


def test_no_other_bucket_is_asked(store, tmp_path, monkeypatch):
  whole, asked = gcsfs.core.GCSFileSystem._call, []

  async def call(self, method, path, *args, **kwargs):
    asked.append(args[0] if args else path)
    return await whole(self, method, path, *args, **kwargs)

  monkeypatch.setattr(gcsfs.core.GCSFileSystem, '_call', call)
  with lock_workdir(paths.parse(f'gs://bkt/{tmp_path.name}', 'path')):
    pass
  assert asked and all('bkt' in name for name in asked)


def test_a_bucket_that_is_none_is_named(store):
  workdir = paths.parse('gs://no-such-bucket/run', 'path')
  taken = pytest.raises(WorkdirError, match=r'there is no .*no-such-bucket')
  with taken, lock_workdir(workdir):
    raise AssertionError
