"""What an index that a stranger made may say."""

import json
import os
import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from dreamer_nnx import versions
from dreamer_nnx.replay import chunkfile
from dreamer_nnx.replay.disk import ChunkDirectory
from dreamer_nnx.replay.index import IndexFormError, check, is_name
from tests.replay.streams import fill, make, saved


@pytest.mark.parametrize(
  'name',
  [
    '0000000012-000032-0000000003.data',
    'process_3/0000000012-000032-0000000003.side',
    '0000000003.data',
    'process_12/0000000003.side',
  ],
)
def test_names_of_stored_files(name):
  assert is_name(name)


@pytest.mark.parametrize(
  'name',
  [
    '/etc/passwd',
    '../0000000003.data',
    'process_3/../0000000003.data',
    'process_3//0000000003.data',
    './0000000003.data',
    'process_x/0000000003.data',
    'process_03/0000000003.data',
    '/0000000003.data',
    '0000000003.data\n',
    '٠٠٠٠٠٠٠٠٠٣.data',
    '0000000003.data/..',
    '~/0000000003.data',
    'gs://b/0000000003.data',
    '',
    None,
    3,
  ],
)
def test_names_of_anything_else(name):
  assert not is_name(name)


def put(*place_and_value):
  """Changes one value deep inside an index."""

  def change(index):
    *place, key, value = place_and_value
    for name in place:
      index = index[name]
    index[key] = value

  return change


HOSTILE = {
  'absolute': put('chunks', 0, 2, '{outside}'),
  'upwards': put('chunks', 0, 2, '../outside.data'),
  'retired': put('retired', '{outside}', -5),
  'retired upwards': put('retired', '../0000000001.data', -5),
  'files': put('files', ['../0000000001.data']),
  'negative slot': put('chunks', 0, 0, -1),
  'far slot': put('chunks', 0, 0, 10**9),
  'twins': put('chunks', 0, 0, 1),
  'id of text': put('chunks', 0, 1, '1'),
  'short chunk': put('chunks', 0, [0]),
  'layout of zeros': put('layout', [0, 0, 0]),
  'layout of text': put('layout', 'abc'),
  'newest': put('newest', 10**6),
  'offset': put('offset', -3),
  'open': put('open', 'yes'),
  'saves': put('saves', 10**400),
  'counts': put('counts', {'inserts': 1}),
  'generator': put('rng', 'bit_generator', 'MT19937'),
  'state of text': put('rng', 'state', 'state', 'x'),
  'long state': put('rng', 'state', 'state', '9' * 5000),
  'word': put('rng', 'uinteger', 2**40),
  'queue': put('online', {'run': 1, 'starts': [[10**9, 0]]}),
  'queue of text': put('online', 'x'),
  'long rows': put('long', [[10**9], [0], 1]),
  'uneven': put('long', [[0, 1], [0], 1]),
  'version': put('version', 0),
  'version of text': put('version', '2'),
}


@pytest.mark.parametrize('change', HOSTILE.values(), ids=HOSTILE)
def test_what_no_replay_saves_is_refused_before_anything_is_touched(
  tmp_path, change
):
  one = fill(make(tmp_path / 'replay', online=True), 0, 23)
  index = saved(one) | {'retired': {}}
  check(index)
  outside = tmp_path / '0000000001.data'
  outside.write_text('dear')
  files = sorted(tmp_path.rglob('*'))
  change(index)
  text = json.dumps(index).replace('{outside}', str(outside))
  two = make(tmp_path / 'replay', online=True)
  for shares in (1, 2):
    with pytest.raises(IndexFormError, match='no replay saves this'):
      two.load_share([json.loads(text)], 0, shares)
  assert sorted(tmp_path.rglob('*')) == files
  assert outside.read_text() == 'dear'
  assert len(two) == 0


def test_an_index_of_a_newer_version_is_refused(tmp_path):
  index = saved(fill(make(tmp_path / 'replay'), 0, 23))
  check(index)
  assert index['version'] == versions.REPLAY
  files = sorted(tmp_path.rglob('*'))
  message = (
    rf'^replay index: it is of format {versions.REPLAY + 1}\. Version '
    rf'{re.escape(versions.PACKAGE)}, which is running, reads formats up to '
    rf'{versions.REPLAY}: install a newer one\.$'
  )
  with pytest.raises(IndexFormError, match=message):
    make(tmp_path / 'replay').load(index | {'version': versions.REPLAY + 1})
  assert sorted(tmp_path.rglob('*')) == files


@pytest.mark.parametrize(
  ('number', 'message'),
  [
    (b'3', 'of format 3. Version .* install a newer one'),
    (b'0', "format is '0', which is no number of one"),
    (b'x', 'not a chunk file'),
  ],
)
def test_a_file_of_a_newer_version_says_so(number, message):
  assert versions.CHUNK_FILE == 2
  data = chunkfile.encode({}, np.array([[0, 0, 2]]), {'a': np.arange(2)})
  newer = data.replace(b'DNNXCHK2', b'DNNXCHK' + number)
  assert newer != data
  with pytest.raises(chunkfile.ChunkFileError, match=message):
    chunkfile.decode(newer)
  with pytest.raises(chunkfile.ChunkFileError, match=message):
    chunkfile.peek(1 << 28, lambda start, count: newer[start : start + count])


def test_an_index_of_another_kind_is_refused():
  for index in ([], 3, 'x', {}, {'layout': None}):
    with pytest.raises(IndexFormError):
      check(index)


def described(**changes):
  """A stored file whose checksum fits a description that does not."""
  runs = np.array([[0, 0, 2]])
  data = chunkfile.encode({}, runs, {'a': np.arange(2)})
  size, _ = struct.unpack('<QI', data[-12:])
  head, text = data[: -12 - size], json.loads(data[-12 - size : -12])
  text = json.dumps(text | changes).encode()
  crc = zlib.crc32(head + text)
  return head + text + struct.pack('<QI', len(text), crc)


def test_a_stored_file_comes_back_from_its_description():
  assert chunkfile.decode(described())[2]['a'].tolist() == [0, 1]


@pytest.mark.parametrize(
  'changes',
  [
    {'length': -1},
    {'length': 10**12},
    {'length': '2'},
    {'runs': -1},
    {'runs': 10**12},
    {'keys': []},
    {'keys': {'a': ['int64', [10**30]]}},
    {'keys': {'a': ['int64', [10**12]]}},
    {'keys': {'a': ['O', []]}},
    {'keys': {'a': ['finfo', []]}},
    {'keys': {'a': [3, []]}},
    {'keys': {'a': 'x'}},
  ],
)
def test_a_description_of_more_than_a_file_holds_is_refused(changes):
  with pytest.raises(chunkfile.ChunkFileError):
    chunkfile.decode(described(**changes))


def nothing(meta):
  del meta


def test_a_file_that_claims_a_terabyte_is_not_read(tmp_path):
  directory = ChunkDirectory(str(tmp_path))
  (tmp_path / '0000000001.data').touch()
  os.truncate(tmp_path / '0000000001.data', 2**40)
  with pytest.raises(chunkfile.ChunkFileError, match='more than any stored'):
    directory.read('0000000001.data', nothing)


def hollow(path, description, size):
  """A file of zeros between a beginning and a description that are right."""
  text = json.dumps(description).encode()
  end = text + struct.pack('<QI', len(text), 0)
  with path.open('wb') as file:
    file.write(b'DNNXCHK2')
    file.seek(size - len(end))
    file.write(end)


def keys(count):
  return {'length': 2, 'runs': 1, 'keys': {'a': ['uint8', [count]]}}


def foreign(meta):
  raise chunkfile.ChunkFileError(f'foreign, {meta["keys"]}')


@pytest.mark.parametrize(
  'description, check, error',
  [
    (keys(7), nothing, 'where its description says'),
    ({**keys(7), 'keys': {'a': ['O', [7]]}}, nothing, 'no format of numbers'),
    ({**keys(7), 'keys': 3}, nothing, 'not a chunk file'),
    ({'text': 'x' * (2 << 20)}, nothing, 'a description of'),
    (keys((2**30 - 200) // 2), foreign, 'foreign'),
    (keys((2**30 - 200) // 2), lambda meta: meta['kind'], 'kind'),
  ],
  ids=['small', 'objects', 'form', 'text', 'foreign', 'incomplete'],
)
def test_a_large_file_is_refused_by_its_ends(
  tmp_path, description, check, error
):
  path = tmp_path / '0000000001.data'
  size = 2**30
  if description == keys((2**30 - 200) // 2):  # A size that fits.
    size = 8 + 24 + 2 * ((2**30 - 200) // 2)
    size += len(json.dumps(description)) + 12
  hollow(path, description, size)
  directory = ChunkDirectory(str(tmp_path))
  tracemalloc.start()
  try:
    with pytest.raises(chunkfile.ChunkFileError, match=error):
      directory.read('0000000001.data', check)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
  finally:
    tracemalloc.stop()


def test_a_large_file_comes_back(tmp_path):
  directory = ChunkDirectory(str(tmp_path))
  array = np.arange(9 << 20).reshape(2, -1)  # 72 MiB.
  seen = []
  directory.write('0000000001.data', {}, np.array([[0, 0, 2]]), {'a': array})
  found = directory.read('0000000001.data', seen.append)
  assert (found[2]['a'] == array).all()
  assert [meta['length'] for meta in seen] == [2, 2]
