"""Paths: local ones stay local, buckets stay buckets, others are refused."""

import pathlib

import pytest

from dreamer_nnx import paths


@pytest.mark.parametrize('text', ['runs/a b', 'läufe', '~/x', 'c:d', 'gs:/x'])
def test_local_paths_are_absolute(text):
  path = paths.parse(text, '--workdir')
  assert path == pathlib.Path(text).expanduser().absolute()
  assert not paths.in_bucket(path)


def test_a_path_in_a_bucket_keeps_its_scheme():
  path = paths.parse('gs://bucket/run', '--workdir') / 'checkpoints'
  assert str(path) == 'gs://bucket/run/checkpoints'
  assert paths.in_bucket(path) and paths.in_bucket(str(path))
  assert paths.parse(path, '--workdir') == path


@pytest.mark.parametrize('scheme', ['s3', 'file', 'hdfs'])
def test_other_schemes_are_refused_in_one_line(scheme):
  with pytest.raises(paths.PathError) as caught:
    paths.parse(f'{scheme}://bucket/run', '--workdir')
  assert str(caught.value) == (
    f"--workdir = '{scheme}://bucket/run': paths of {scheme}:// cannot be "
    'used. Name a local folder or gs://BUCKET/FOLDER.'
  )


def test_a_file_is_written_whole_and_replaced(tmp_path):
  for data in (b'one', b'other'):
    paths.write(tmp_path / 'file', data)
    assert (tmp_path / 'file').read_bytes() == data
  assert paths.size(tmp_path / 'file') == 5
  assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_what_cannot_be_written_leaves_nothing(tmp_path):
  (tmp_path / 'file').mkdir()
  with pytest.raises(OSError):
    paths.write(tmp_path / 'file', b'data')
  assert [path.name for path in tmp_path.iterdir()] == ['file']
