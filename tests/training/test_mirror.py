"""Logs of a workdir in a bucket: nothing that was written is lost."""

import time

import pytest

from dreamer_nnx import paths
from dreamer_nnx.training import mirror
from dreamer_nnx.training.mirror import Mirror
from tests.training.waiting import wait_for


@pytest.fixture
def workdir(store, request):
  return paths.parse(f'gs://bkt/{request.node.name} ü', '--workdir')


def test_a_local_workdir_is_written_in_itself(tmp_path):
  with Mirror(tmp_path, '', appending=True) as logs:
    assert logs.path == tmp_path
    assert logs.evaluations == tmp_path / 'evaluations.jsonl'
    logs.flush()
  assert list(tmp_path.iterdir()) == []


def test_everything_is_there_at_the_end_and_gone_on_with(workdir, tmp_path):
  for line in ('one\n', 'two\n'):
    with Mirror(workdir, str(tmp_path), appending=True) as logs:
      assert logs.path.name == workdir.name
      with (logs.path / 'metrics.jsonl').open('a') as file:
        file.write(line)
      video = logs.path / 'videos' / f'{line.strip()}.gif'
      video.parent.mkdir()
      video.write_bytes(line.encode())
      (video.parent / '.half.partial.gif').write_bytes(b'half')
  assert (workdir / 'metrics.jsonl').read_bytes() == b'one\ntwo\n'
  names = {'metrics.jsonl', 'videos/one.gif', 'videos/two.gif'}
  assert paths.walk(workdir).keys() == names
  assert list(tmp_path.iterdir()) == []


def test_a_save_has_it_uploaded_soon(workdir):
  with Mirror(workdir, '', appending=True) as logs:
    (logs.path / 'metrics.jsonl').write_text('one\n')
    time.sleep(0.5)
    assert not (workdir / 'metrics.jsonl').exists()
    logs.flush()
    wait_for((workdir / 'metrics.jsonl').exists)


def test_it_is_uploaded_now_and_then(workdir, monkeypatch):
  monkeypatch.setattr(mirror, 'PERIOD', 0.3)
  with Mirror(workdir, '', appending=True) as logs:
    (logs.path / 'metrics.jsonl').write_text('one\n')
    wait_for((workdir / 'metrics.jsonl').exists)


def test_beside_a_run_evaluations_have_a_file_of_their_own(workdir):
  with Mirror(workdir, '', appending=True) as logs:
    logs.evaluations.write_text('run\n')
  with Mirror(workdir, '', appending=False) as logs:
    logs.evaluations.write_text('other\n')
  texts = {(workdir / name).read_bytes() for name in paths.walk(workdir)}
  assert texts == {b'run\n', b'other\n'}


def test_what_cannot_be_uploaded_is_told_at_the_end(store):
  missing = paths.parse('gs://no-such-bucket/run', '--workdir')
  with (
    pytest.raises(OSError, match=r'no-such-bucket/run/a: could not be written'),
    Mirror(missing, '', appending=True) as logs,
  ):
    (logs.path / 'a').write_text('a')


def test_an_error_before_it_is_the_one_to_tell(store):
  missing = paths.parse('gs://no-such-bucket/run', '--workdir')
  with (
    pytest.raises(ZeroDivisionError),
    Mirror(missing, '', appending=True) as logs,
  ):
    (logs.path / 'a').write_text('a')
    raise ZeroDivisionError


def test_a_scratch_folder_in_a_bucket_is_refused(store, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  workdir = paths.parse('gs://bkt/run', '--workdir')
  with pytest.raises(paths.PathError, match=r'--scratch = .* of this machine'):
    Mirror(workdir, 'gs://bkt/scratch', appending=True)
  assert not list(tmp_path.iterdir())
