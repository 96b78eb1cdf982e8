"""What an index that a stranger made may say."""

import json
import os
import struct
import zlib

import numpy as np
import pytest

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
  'version': put('version', 99),
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
      two.adopt([json.loads(text)], 0, shares)
  assert sorted(tmp_path.rglob('*')) == files
  assert outside.read_text() == 'dear'
  assert len(two) == 0


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


def test_a_file_that_claims_a_terabyte_is_not_read(tmp_path):
  directory = ChunkDirectory(str(tmp_path))
  (tmp_path / '0000000001.data').touch()
  os.truncate(tmp_path / '0000000001.data', 2**40)
  with pytest.raises(chunkfile.ChunkFileError, match='more than any stored'):
    directory.read('0000000001.data')
