"""Paths: local ones stay local, buckets stay buckets, others are refused."""

import asyncio
import pathlib
import re
import shutil
import subprocess
import sys

import aiohttp
import fsspec
import gcsfs
import pytest
import requests
from gcsfs.retry import HttpError

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


@pytest.mark.parametrize(
  'text', ['gs://', 'gs://bkt', 'gs://bkt/', 'gs:///x', 'gs://bkt/.']
)
def test_a_bucket_alone_is_no_folder(text):
  with pytest.raises(paths.PathError, match='name gs://BUCKET/FOLDER'):
    paths.parse(text, '--workdir')


def test_dots_are_not_resolved_in_a_bucket():
  with pytest.raises(paths.PathError, match='without'):
    paths.parse('gs://bkt/run/../other', '--workdir')


def test_a_folder_of_this_machine_is_in_no_bucket(tmp_path):
  assert paths.local(str(tmp_path), '--scratch') == tmp_path
  with pytest.raises(paths.PathError, match=r'--scratch = .* of this machine'):
    paths.local('gs://bkt/scratch', '--scratch')


@pytest.mark.parametrize('name', ['run*', 'run?', 'run[1]', 'run#1'])
def test_a_folder_in_a_bucket_is_no_pattern(name):
  with pytest.raises(paths.PathError, match='without any of'):
    paths.parse(f'gs://bkt/runs/{name}', '--workdir')


def test_the_missing_package_for_buckets_is_named(monkeypatch):
  monkeypatch.setattr(paths.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(
    paths.PathError, match=r"pip install 'dreamer_nnx\[gcs\]'"
  ):
    paths.parse('gs://bkt/run', '--workdir')


@pytest.fixture(params=['local', 'bucket'])
def folder(request, tmp_path):
  if request.param == 'local':
    return tmp_path / 'a b ü'
  request.getfixturevalue('store')
  return paths.parse(f'gs://bkt/{tmp_path.name}/a b ü', 'path')


def test_files_are_listed_and_removed_alike(folder):
  (folder / 'sub').mkdir(parents=True, exist_ok=True)
  for name in ('one', 'sub/two?#%|'):
    paths.write(folder / name, b'12345')
  assert {k: v.size for k, v in paths.walk(folder).items()} == {
    'one': 5,
    'sub/two?#%|': 5,
  }
  paths.remove(folder / 'sub')
  assert paths.walk(folder).keys() == {'one'}
  paths.remove(folder / 'sub')
  assert paths.size(folder / 'one') == 5


def test_what_is_in_a_folder_is_listed_alike(folder):
  assert paths.entries(folder) == []
  (folder / 'b').mkdir(parents=True, exist_ok=True)
  for name in ('a', 'b/one', f'b/{folder.name}'):
    paths.write(folder / name, b'1')
  assert paths.entries(folder) == [folder / 'a', folder / 'b']
  assert paths.entries(folder / 'a') == []
  one = folder / 'b' / 'one'
  one.unlink()
  (folder / 'b' / folder.name).unlink()
  assert paths.entries(folder / 'b') == []


def test_files_that_are_deleted_meanwhile_are_left_out(tmp_path, monkeypatch):
  for name in ('a/one', 'a/two', 'b/three'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b'1')
  (tmp_path / 'link').symlink_to('a')
  whole = pathlib.Path.is_file

  def is_file(path):
    found = whole(path)
    shutil.rmtree(tmp_path / 'b', ignore_errors=True)
    if path.name == 'two':
      path.unlink()
    return found

  monkeypatch.setattr(pathlib.Path, 'is_file', is_file)
  assert paths.walk(tmp_path).keys() == {'a/one'}


def test_a_mark_of_a_folder_is_not_in_it(store, tmp_path):
  folder = paths.parse(f'gs://bkt/{tmp_path.name}/a', 'path')
  for name in ('a/', 'a/a'):
    fsspec.filesystem('gs').pipe_file(f'{folder.parent}/{name}', b'')
  assert paths.entries(folder) == [folder / 'a']


def test_files_and_links_are_removed(folder):
  folder.mkdir(parents=True, exist_ok=True)
  paths.write(folder / 'file', b'1')
  paths.remove(folder / 'file')
  paths.remove(folder / 'file')
  assert paths.entries(folder) == []
  if not paths.in_bucket(folder):
    (folder / 'link').symlink_to(folder)
    paths.remove(folder / 'link')
    assert folder.is_dir() and paths.entries(folder) == []


def test_a_file_is_created_once(folder):
  folder.mkdir(parents=True, exist_ok=True)
  paths.create(folder / 'one', b'first')
  with pytest.raises(FileExistsError):
    paths.create(folder / 'one', b'second')
  assert (folder / 'one').read_bytes() == b'first'


def test_a_local_file_is_copied_and_replaces_another(store, tmp_path):
  target = paths.parse(f'gs://bkt/{tmp_path.name}/copy', 'path')
  for data in (b'first', b'other'):
    (tmp_path / 'file').write_bytes(data)
    paths.upload(tmp_path / 'file', target)
    assert target.read_bytes() == data
    assert paths.walk(target.parent)['copy'].checksum


def test_only_errors_of_a_bucket_are_its_refusals(store):
  with pytest.raises(Exception) as caught:
    paths.write(paths.parse('gs://no-such-bucket/x', 'path'), b'')
  assert paths.refusal(caught.value) or isinstance(caught.value, OSError)
  assert not paths.refusal(ValueError('wrong'))
  assert not paths.refusal(OSError('full'))


FAILURES = (
  HttpError({'code': 503, 'message': 'try later'}),
  aiohttp.ServerDisconnectedError(),
  requests.exceptions.ProxyError(),
  TimeoutError(),
  ValueError('Bad Request: b/bkt\ninvalid'),
  OSError('Forbidden: b/bkt\nno permission'),
)
CALLS = {
  'read': paths.read,
  'write': lambda path: paths.write(path, b'1'),
  'create': lambda path: paths.create(path, b'1'),
  'entries': paths.entries,
  'walk': paths.walk,
  'remove': paths.remove,
  'unlink': lambda path: path.unlink(missing_ok=True),
  'exists': lambda path: path.exists(),
  'is_dir': lambda path: path.is_dir(),
  'is_file': lambda path: path.is_file(),
  'glob': lambda path: list(path.glob('*')),
  'open': lambda path: path.open('rb'),
}


@pytest.mark.parametrize('call', CALLS)
@pytest.mark.parametrize('error', FAILURES, ids=lambda x: type(x).__name__)
def test_what_fails_in_a_bucket_is_an_os_error(store, monkeypatch, call, error):
  async def request(*args, **kwargs):
    raise error

  monkeypatch.setattr(gcsfs.core.GCSFileSystem, '_request', request)
  with pytest.raises(OSError) as caught:
    CALLS[call](paths.parse('gs://bkt/failing', 'path'))
  assert str(caught.value) and paths.refusal(caught.value)
  assert not isinstance(caught.value, FileNotFoundError)
  assert 'bkt' in str(caught.value)


def test_a_file_with_the_name_of_a_folder_is_beside_it(store, tmp_path):
  folder = paths.parse(f'gs://bkt/{tmp_path.name}/run', 'path')
  paths.write(folder, b'of another kind')
  assert paths.walk(folder) == {} and paths.entries(folder) == []
  assert folder.is_file() and not folder.is_dir()
  paths.write(folder / 'one', b'1')
  assert folder.is_dir() and not folder.is_file()
  assert paths.entries(folder.parent) == [folder]
  assert paths.walk(folder).keys() == {'one'}


def test_a_mark_makes_a_folder(store, tmp_path):
  folder = paths.parse(f'gs://bkt/{tmp_path.name}/a', 'path')
  assert not folder.is_dir() and not folder.exists()
  fsspec.filesystem('gs').pipe_file(f'{folder}/', b'')
  assert folder.is_dir() and paths.walk(folder) == {}


def test_a_folder_is_apart_from_one_whose_name_goes_on(store, tmp_path):
  folder = paths.parse(f'gs://bkt/{tmp_path.name}/run1', 'path')
  other = folder.with_name('run10')
  paths.write(other / 'one', b'1')
  assert not folder.exists() and not folder.is_dir()
  assert paths.walk(folder) == {} and paths.entries(folder) == []
  paths.remove(folder)
  assert paths.walk(other).keys() == {'one'}


@pytest.mark.parametrize('name', ['a*', 'a?', '[ab]*'])
def test_what_is_removed_is_no_pattern(folder, name):
  folder.mkdir(parents=True, exist_ok=True)
  for each in ('ab', name):
    paths.write(folder / each, b'1')
  paths.remove(folder / name)
  assert paths.walk(folder).keys() == {'ab'}


def test_a_file_is_read_as_it_is_at_one_moment(store, tmp_path, monkeypatch):
  path = paths.parse(f'gs://bkt/{tmp_path.name}/file', 'path')
  paths.write(path, b'9')
  whole = gcsfs.core.GCSFileSystem._call

  async def call(self, method, *args, **kwargs):
    result = await whole(self, method, *args, **kwargs)
    if method == 'GET' and path.name in str(args):
      monkeypatch.setattr(gcsfs.core.GCSFileSystem, '_call', whole)
      await asyncio.to_thread(paths.write, path, b'10')
    return result

  monkeypatch.setattr(gcsfs.core.GCSFileSystem, '_call', call)
  assert paths.read(path) in (b'9', b'10')


def test_folders_around_are_of_the_bucket_alone(tmp_path):
  path = paths.parse('gs://bkt/a/b', 'path')
  assert list(map(str, paths.around(path))) == ['gs://bkt/a/b', 'gs://bkt/a']
  assert paths.around(tmp_path) == [tmp_path, *tmp_path.parents]


def test_a_file_that_grows_is_copied(store, tmp_path, monkeypatch):
  target = paths.parse(f'gs://bkt/{tmp_path.name}/log', 'path')
  file, whole, said = tmp_path / 'log', gcsfs.core.GCSFileSystem._call, []
  file.write_bytes(bytes(6 << 20))

  async def call(self, *args, headers=None, **kwargs):
    said.append((headers or {}).get('Content-Range', ''))
    with file.open('ab') as log:
      log.write(b'line')
    return await whole(self, *args, headers=headers, **kwargs)

  monkeypatch.setattr(gcsfs.core.GCSFileSystem, '_call', call)
  paths.upload(file, target)
  ranges = [re.fullmatch(r'bytes \d+-(\d+)/(\d+|\*)', x) for x in said]
  sizes = [x.groups() for x in ranges if x]
  assert sizes and all(x == '*' or int(end) < int(x) for end, x in sizes)
  copy = target.read_bytes()
  assert len(copy) >= 6 << 20 and file.read_bytes().startswith(copy)


def test_marks_of_folders_are_removed_with_them(store, tmp_path):
  folder = paths.parse(f'gs://bkt/{tmp_path.name}/a', 'path')
  for name in ('a/', 'a/b/', 'a/b/one', 'ab/'):
    fsspec.filesystem('gs').pipe_file(f'{folder.parent}/{name}', b'')
  paths.remove(folder)
  assert paths.entries(folder.parent) == [folder.with_name('ab')]


@pytest.mark.parametrize('used', ['', 'fsspec.get_filesystem_class("gs")'])
def test_the_client_is_ours_and_imported_where_it_is_used(used):
  program = f"""
import sys, fsspec
{used}
from dreamer_nnx import paths
print('gcsfs' in sys.modules)
for name in ('gs', 'gcs'):
  print(fsspec.get_filesystem_class(name).__module__)
"""
  done = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True
  )
  imported, *modules = done.stdout.split()
  assert imported == str(bool(used)), done.stderr
  assert modules == ['dreamer_nnx.buckets'] * 2
