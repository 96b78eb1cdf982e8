import json
import re

import numpy as np
import pytest

from dreamer_nnx.replay import chunkfile
from dreamer_nnx.replay.chunked import ChunkedReplay
from tests.replay.streams import SPACES, fill, firsts, make, same, space

ALL = {
  'uniform': 1.0,
  'priority': 1.0,
  'recency': 1.0,
  'online': True,
  'consec': 2,
  'capacity': 120,
}


def train(replay, begin, end):
  """Adds, samples and writes back; returns the batches."""
  batches = []
  for time in range(begin, end):
    fill(replay, time, time + 1)
    if replay.ready:
      batch, handle = replay.sample()
      value = batch['count'][:, 1:].astype(np.float32)
      deter = np.stack([value + time, value / 3], -1)
      priority = np.sqrt(value) if replay.priority_wanted else None
      replay.update(handle, {'deter': deter}, priority)
      batches.append(batch)
  return batches


def through_json(index):
  return json.loads(json.dumps(index))


def starts(replay, batches=400):
  return set(firsts(replay, batches) % 1000 - 1)


@pytest.mark.parametrize('saved', [9, 15, 23, 40, 71, 72])
@pytest.mark.parametrize('seed', [0, 1])
def test_a_loaded_replay_goes_on_bit_for_bit(tmp_path, saved, seed):
  one = make(tmp_path, seed, **ALL)
  train(one, 0, saved)
  index = through_json(one.save())
  two = make(tmp_path, seed + 10, **ALL)
  two.load(index)
  assert two.stats() | {'written_bytes': 0} == one.stats() | {
    'written_bytes': 0
  }
  three = train(one, saved, saved + 60)
  four = train(two, saved, saved + 60)
  assert len(three) == 60
  assert all(map(same, three, four))


def test_saving_changes_nothing(tmp_path):
  one, two = make(tmp_path / '1', **ALL), make(tmp_path / '2', **ALL)
  for time in range(0, 60, 3):
    assert all(
      map(same, train(one, time, time + 3), train(two, time, time + 3))
    )
    one.save()


def test_a_later_save_keeps_earlier_indices_whole(tmp_path):
  one = make(tmp_path, keep_indices=2, **ALL)
  indices, sequels = [], []
  for time in range(0, 100, 10):
    train(one, time, time + 10)
    indices.append(through_json(one.save()))
    # What would follow, from a replay of its own.
    other = make(tmp_path, **ALL)
    other.load(indices[-1])
    sequels.append([other.sample()[0] for _ in range(5)])
  for index, sequel in list(zip(indices, sequels, strict=True))[-2:]:
    two = make(tmp_path, **ALL)
    two.load(index)
    assert two.stats()['skipped_files'] == 0
    assert all(same(two.sample()[0], batch) for batch in sequel)
  first = make(tmp_path, skip_damaged=True, **ALL)
  first.load(indices[0])
  assert first.stats()['skipped_files'] > 0


def test_a_rewound_replay_leaves_the_other_future_alone(tmp_path):
  one = make(tmp_path, **ALL)
  train(one, 0, 23)
  early = through_json(one.save())
  train(one, 23, 48)
  late = through_json(one.save())
  expect = train(one, 48, 60)
  two = make(tmp_path, **ALL)
  two.load(early)
  fill(two, 500, 525)
  two.save()
  three = make(tmp_path, **ALL)
  three.load(late)
  assert all(map(same, train(three, 48, 60), expect))


def test_a_chunk_is_on_disk_when_it_is_full(tmp_path):
  fill(make(tmp_path), 0, 21)
  two = make(tmp_path)
  two.load(None)
  # Opening the fifth group waited for all writes but that of the fourth.
  assert 30 <= len(two) <= 40
  assert starts(two) >= set(range(12))


def test_observations_are_written_once(tmp_path):
  one = fill(make(tmp_path), 0, 20)
  one.save()
  before = {path.name for path in tmp_path.glob('*.data')}
  train(one, 20, 30)
  one.save()
  written = {path.name for path in tmp_path.glob('*.data')}
  assert before <= written and len(before) == 8 and len(written) == 12


def test_latents_can_be_left_as_they_were_first_stored(tmp_path):
  one = fill(make(tmp_path, save_latents=False), 0, 20)
  one.save()
  before = sorted(path.name for path in tmp_path.iterdir())
  _, handle = one.sample()
  one.update(handle, {'deter': np.full((2, 3, 2), 0.5)}, None)
  one.save()
  assert sorted(path.name for path in tmp_path.iterdir()) == before


def damage(path, how):
  data = bytearray(path.read_bytes())
  if how == 'cut':
    data = data[: len(data) // 2]
  elif how == 'flip':
    data[len(data) // 3] ^= 4
  elif how == 'empty':
    data = b''
  elif how == 'stranger':
    data = b'PK' + data
  path.write_bytes(data)


@pytest.mark.parametrize('how', ['cut', 'flip', 'empty', 'stranger'])
@pytest.mark.parametrize('kind', ['data', 'side'])
@pytest.mark.parametrize('whole', [True, False])
def test_a_torn_chunk_is_skipped_and_never_bridged(
  tmp_path, how, kind, whole, caplog
):
  one = fill(make(tmp_path, num_envs=1, capacity=60), 0, 23, num_envs=1)
  index = through_json(one.save())
  # The second chunk: times 5 to 9.
  path = next(tmp_path.glob(f'0000000001-*.{kind}'))
  damage(path, how)
  two = make(tmp_path, num_envs=1, capacity=60, skip_damaged=True)
  two.load(index if whole else None)
  assert len(two) == 18
  assert two.stats()['skipped_files'] == (1 if kind == 'data' else 2)
  assert path.name in caplog.text
  assert starts(two) == {0, 1, *range(10, 20)}
  for _ in range(50):
    batch, _ = two.sample()
    steps = batch['count'] - batch['count'][:, :1]
    np.testing.assert_array_equal(steps, [[0, 1, 2, 3]] * 2)


def test_a_damaged_file_of_an_index_is_refused_unless_told(tmp_path):
  index = through_json(fill(make(tmp_path), 0, 23).save())
  path = next(tmp_path.glob('0000000009-*.data'))
  damage(path, 'cut')
  text = rf'1 files of the checkpoint.*{path.name}.*skip_damaged=true'
  with pytest.raises(ValueError, match=text):
    make(tmp_path).load(index)


def test_a_torn_head_breaks_the_streams(tmp_path):
  one = fill(make(tmp_path), 0, 23)
  index = through_json(one.save())
  damage(next(tmp_path.glob('0000000009-*.data')), 'cut')
  two = make(tmp_path, skip_damaged=True)
  two.load(index)
  fill(two, 23, 40)
  for _ in range(100):
    batch, _ = two.sample()
    steps = batch['count'] - batch['count'][:, :1]
    np.testing.assert_array_equal(steps, [[0, 1, 2, 3]] * 2)


@pytest.mark.parametrize(
  ('spaces', 'chunk_size', 'text'),
  [
    (
      SPACES | {'image': space((2, 3, 3), 'uint8')},
      5,
      r"foreign, 'image' is uint8 \(2, 3, 1\), not uint8 \(2, 3, 3\)",
    ),
    (
      SPACES | {'extra': space((), 'bool')},
      5,
      r"foreign, 'extra' is absent, not bool \(\)",
    ),
    (SPACES, 6, 'foreign, of chunk_size 5, not 6'),
  ],
)
def test_foreign_chunks_are_refused_and_named(
  tmp_path, spaces, chunk_size, text, caplog
):
  fill(make(tmp_path), 0, 10).save()
  (tmp_path / 'notes.txt').write_text('not a chunk')
  config = {'capacity': 80, 'chunk_size': chunk_size}
  two = ChunkedReplay(spaces, 2, 2, 3, str(tmp_path), 0, **config)
  two.load(None)
  assert len(two) == 0
  assert two.stats()['skipped_files'] == 5
  assert re.search(text, caplog.text)
  assert 'notes.txt: not a chunk file' in caplog.text


def test_without_an_index_everything_good_is_taken(tmp_path):
  one = fill(make(tmp_path), 0, 33)
  one.save()
  two = make(tmp_path)
  two.load(None)
  assert len(two) == 66 and starts(two) == set(range(30))
  # The workers' streams begin anew: nothing bridges time 32 and 500.
  fill(two, 500, 520)
  assert starts(two) <= {*range(30), *range(500, 517)}
  for _ in range(100):
    batch, _ = two.sample()
    steps = batch['count'] - batch['count'][:, :1]
    np.testing.assert_array_equal(steps, [[0, 1, 2, 3]] * 2)


def test_a_smaller_pool_takes_the_newest(tmp_path):
  index = fill(make(tmp_path), 0, 40).save()
  for source in (through_json(index), None):
    two = make(tmp_path, capacity=40)
    two.load(source)
    assert len(two) == 40 and starts(two) == set(range(20, 37))


def test_other_numbers_of_workers_load(tmp_path):
  index = fill(make(tmp_path), 0, 20).save()
  two = make(tmp_path, num_envs=3, capacity=90)
  two.load(through_json(index))
  assert len(two) == 40 and starts(two) == set(range(17))
  fill(two, 500, 530, num_envs=3)
  assert len(two) == 90 and starts(two) <= set(range(500, 530))


def test_a_disk_that_refuses_is_named(tmp_path):
  one = fill(make(tmp_path), 0, 5)
  tmp_path.rmdir()
  text = 'could not be written, .* first .No such file or directory'
  with pytest.raises(OSError, match=text):
    fill(one, 5, 11)
  with pytest.raises(OSError, match=text):
    one.save()
  # Nothing is lost: once there is room the same chunks are written.
  tmp_path.mkdir()
  index = through_json(one.save())
  two = make(tmp_path)
  two.load(index)
  assert len(two) == len(one) == 20
  assert all(same(one.sample()[0], two.sample()[0]) for _ in range(9))


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / 'file').write_text('in the way')
  text = 'cannot be written .* Choose another workdir'
  with pytest.raises(OSError, match=text):
    make(tmp_path / 'file' / 'replay')


def test_without_a_directory_the_index_has_no_files():
  one = fill(make(), 0, 12)
  index = through_json(one.save())
  two = make(seed=9)
  two.load(index)
  assert len(two) == 0
  with pytest.raises(ValueError, match='without a directory'):
    two.load(None)
  one = make()
  np.testing.assert_array_equal(
    firsts(fill(two, 0, 9), 20), firsts(fill(one, 0, 9), 20)
  )


def test_a_file_holds_what_was_put_in(tmp_path):
  arrays = {
    'count': np.arange(1, 6, dtype=np.int32),
    'flag': np.array([True, False, True, True, False]),
    'latent/deter': np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 2, 2),
  }
  path = tmp_path / 'chunk'
  size = chunkfile.write(path, {'length': 5, 'id': 3}, arrays)
  meta, found = chunkfile.read(path)
  assert size == path.stat().st_size and meta['id'] == 3
  assert found.keys() == arrays.keys()
  for key, value in arrays.items():
    assert found[key].dtype == value.dtype
    np.testing.assert_array_equal(found[key], value)
