import contextlib
import os
import re
import shutil
import threading

import gcsfs
import numpy as np
import pytest
from gcsfs.retry import HttpError

from dreamer_nnx import paths
from dreamer_nnx.errors import UserError
from dreamer_nnx.replay import archive, chunkfile
from dreamer_nnx.replay.chunked import ChunkedReplay
from dreamer_nnx.replay.index import IndexFormError
from tests.replay.streams import (
  SPACES,
  by_share,
  fill,
  firsts,
  make,
  same,
  saved,
  space,
)
from tests.training.waiting import wait_for

ALL = {
  'selectors': by_share(uniform=1.0, priority=1.0, recency=1.0),
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
      replay.update(handle, {'latent/deter': deter}, {'model': np.sqrt(value)})
      batches.append(batch)
  return batches


def starts(replay, batches=400):
  return set(firsts(replay, batches) % 1000 - 1)


@pytest.mark.parametrize('until', [9, 15, 23, 40, 71, 72])
@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('storage', ['memory', 'disk'])
def test_a_loaded_replay_goes_on_bit_for_bit(tmp_path, until, seed, storage):
  one = make(tmp_path, seed, storage=storage, **ALL)
  train(one, 0, until)
  index = saved(one)
  two = make(tmp_path, seed + 10, storage=storage, **ALL)
  two.load(index)
  varying = {'written_bytes': 0, 'save_waited': 0}
  assert two.stats() | varying == one.stats() | varying
  three = train(one, until, until + 60)
  four = train(two, until, until + 60)
  assert len(three) == 60
  assert all(map(same, three, four))


def test_saving_changes_nothing(tmp_path):
  one, two = make(tmp_path / '1', **ALL), make(tmp_path / '2', **ALL)
  for time in range(0, 60, 3):
    assert all(
      map(same, train(one, time, time + 3), train(two, time, time + 3))
    )
    one.save()


class Slow:
  """Lets one file be written each time it is told to."""

  def __init__(self, monkeypatch):
    self.gate, self.write = threading.Semaphore(0), paths.write
    monkeypatch.setattr(paths, 'write', self)

  def __call__(self, path, data):
    assert self.gate.acquire(timeout=60)
    self.write(path, data)

  def open(self):
    self.gate.release(10_000)


@pytest.mark.parametrize('storage', ['memory', 'disk'])
@pytest.mark.parametrize('until', [23, 71])
@pytest.mark.parametrize('more', [1, 7, 90])
def test_what_is_saved_is_as_of_the_save(
  tmp_path, until, more, storage, monkeypatch
):
  # Files of few steps, so that training overwrites and recycles in between.
  monkeypatch.setattr(archive, 'BLOCK', 128)
  one = make(tmp_path, storage=storage, **ALL)
  train(one, 0, until)
  slow = Slow(monkeypatch)
  index = one.save()
  expect = train(one, until, until + more // 2)
  slow.gate.release(3)
  expect += train(one, until + more // 2, until + more)
  slow.open()
  one.wait()
  two = make(tmp_path, 9, **ALL)
  two.load(index)
  assert not two.stats()['skipped_files']
  assert all(map(same, train(two, until, until + more), expect))


def test_training_waits_when_copies_fill_their_memory(
  tmp_path, monkeypatch, caplog
):
  # One byte of copies is already too much.
  one = make(tmp_path, save_waiting=2**-30, **ALL)
  train(one, 0, 40)
  slow = Slow(monkeypatch)
  one.save()

  def open_late():
    wait_for(lambda: 'training waits for a save' in caplog.text)
    threading.Timer(0.3, slow.open).start()

  threading.Thread(target=open_late).start()
  train(one, 40, 50)
  assert 'training waits for a save' in caplog.text
  assert 'config.replay.chunked.save_waiting' in caplog.text
  saved(one)
  assert one.stats()['save_waited'] >= 0.1


def test_any_index_that_is_kept_finds_all_it_names(tmp_path):
  one = make(tmp_path, **ALL)
  indices, sequels = {}, {}
  for time in range(0, 300, 10):
    train(one, time, time + 10)
    # The first, every sixth, and the last two are kept.
    kept = [x for x in indices if x % 60 == 0 or x >= time - 20]
    indices = {x: indices[x] for x in kept}
    one.retain(set().union(*(one.files(x) for x in indices.values())))
    indices[time] = saved(one)
    other = make(tmp_path, **ALL)
    other.load(indices[time])
    sequels[time] = [other.sample()[0] for _ in range(5)]
  for time, index in indices.items():
    two = make(tmp_path, **ALL)
    two.load(index)
    assert two.stats()['skipped_files'] == 0
    assert all(same(two.sample()[0], batch) for batch in sequels[time])
  assert len(indices) > 5
  # What no index names is gone.
  one.retain(one.files(indices[290]))
  saved(one)
  held = {path.name for path in tmp_path.iterdir() if path.is_file()}
  assert held == one.files(indices[290])


def test_a_rewound_replay_leaves_the_other_future_alone(tmp_path):
  one = make(tmp_path, **ALL)
  train(one, 0, 23)
  early = saved(one)
  train(one, 23, 48)
  late = saved(one)
  expect = train(one, 48, 60)
  two = make(tmp_path, **ALL)
  two.load(early)
  fill(two, 500, 525)
  two.retain(one.files(early) | one.files(late))
  saved(two)
  three = make(tmp_path, **ALL)
  three.load(late)
  assert all(map(same, train(three, 48, 60), expect))
  # The same replay goes back, too, while it saves.
  three.save()
  three.load(early)
  four = make(tmp_path, **ALL)
  four.load(early)
  assert all(map(same, train(three, 23, 60), train(four, 23, 60)))


# Bytes of one step of SPACES, and of its latents with a priority.
STEP, SIDE = 4 + 6 + 1 + 1 + 8, 8
# Of a file: its description, and 24 for each stretch of steps.
HEAD, RUN = 500, 24


def test_a_save_writes_what_came_and_what_changed_and_no_more(tmp_path):
  one = make(tmp_path, capacity=20_000, chunk_size=50)
  fill(one, 0, 500)
  saved(one)
  before = one.stats()['written_bytes']
  assert before <= 1000 * STEP + 20 * 2 * RUN + 2 * HEAD
  for time in range(500, 1100, 60):
    fill(one, time, time + 60)
    changed = 0
    for _ in range(10):
      _, handle = one.sample()
      one.update(handle, {'latent/deter': np.ones((2, 3, 2))}, {})
      changed += handle.rows.size
    saved(one)
    after = one.stats()['written_bytes']
    most = 120 * STEP + changed * 8 + (changed + 8) * RUN + 2 * HEAD
    assert after - before <= most
    before = after
  saved(one)
  assert one.stats()['written_bytes'] == before


def test_disk_use_is_bounded(tmp_path, monkeypatch):
  monkeypatch.setattr(archive, 'SMALL', 600)
  one = make(tmp_path, **ALL)
  sizes = []
  for time in range(0, 450, 3):
    train(one, time, time + 3)
    index = saved(one)
    one.retain(one.files(index))
    if time % 60 == 0:
      saved(one)
      files = [path for path in tmp_path.iterdir() if path.is_file()]
      sizes.append((sum(path.stat().st_size for path in files), len(files)))
  # 120 steps take 4 KB once; most of these files is their description.
  assert max(count for _, count in sizes) < 2 * 64 + 60
  assert max(size for size, _ in sizes[5:]) < 1.5 * sizes[5][0]


def test_nothing_is_written_between_saves(tmp_path):
  one = make(tmp_path, **ALL)
  train(one, 0, 400)
  assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_what_is_reported_as_saved_is_synced(tmp_path, monkeypatch):
  synced = []
  sync = os.fsync
  monkeypatch.setattr(os, 'fsync', lambda x: (synced.append(x), sync(x)))
  index = saved(fill(make(tmp_path), 0, 20))
  # Each file, and the folder that has its name.
  assert len(synced) == 2 * len(index['files'])


def test_latents_can_be_left_out(tmp_path, caplog):
  one = fill(make(tmp_path, save_latents=False), 0, 20)
  index = saved(one)
  assert not list(tmp_path.glob('*.side'))
  two = make(tmp_path, save_latents=False)
  two.load(index)
  assert 'the latents of 40 of 40 steps are not stored' in caplog.text
  one_batch, two_batch = one.sample()[0], two.sample()[0]
  assert not two_batch['latent/deter'].any()
  for key in ('count', 'image'):
    np.testing.assert_array_equal(one_batch[key], two_batch[key])


def test_priorities_are_saved_without_latents(tmp_path):
  one = make(tmp_path, save_latents=False, **ALL)
  train(one, 0, 40)
  two = make(tmp_path, save_latents=False, **ALL)
  two.load(saved(one))
  for _ in range(20):
    one_batch, two_batch = one.sample()[0], two.sample()[0]
    np.testing.assert_array_equal(one_batch['count'], two_batch['count'])


@pytest.mark.parametrize(
  'name',
  ['bfloat16', 'float16', 'float8_e4m3fn', 'float8_e5m2', 'int4', 'complex64'],
)
@pytest.mark.parametrize('storage', ['memory', 'disk'])
def test_formats_come_back_bit_for_bit(tmp_path, name, storage):
  dtype = np.dtype(name)
  spaces = {'x': space((3,), dtype), 'latent/y': space((2,), dtype)}
  config = {'capacity': 80, 'chunk_size': 5, 'storage': storage}
  one = ChunkedReplay(spaces, 2, 2, 3, str(tmp_path), 0, **config)
  rng = np.random.default_rng(0)
  draw = lambda n: rng.integers(-7, 7, (2, n)).astype(np.float32).astype(dtype)
  for _ in range(20):
    one.add({'x': draw(3), 'latent/y': draw(2)})
  _, handle = one.sample()
  value = np.stack([draw(2)] * 3, axis=1)
  one.update(handle, {'latent/y': value}, {})
  two = ChunkedReplay(spaces, 2, 2, 3, str(tmp_path), 9, **config)
  two.load(saved(one))
  for _ in range(20):
    assert same(one.sample()[0], two.sample()[0])


@pytest.mark.parametrize('name', ['uint4', 'datetime64[s]', 'O'])
def test_formats_that_files_do_not_have_are_refused_by_name(name):
  spaces = {'x': space((), np.dtype(name))}
  text = f"'x' is {np.dtype(name).name}: stored steps have no such format."
  with pytest.raises(ValueError, match=re.escape(text)):
    ChunkedReplay(spaces, 2, 2, 3, '', 0, capacity=80, chunk_size=5)


def damage(path, how):
  data = bytearray(path.read_bytes())
  if how == 'cut':
    data = data[: len(data) // 2]
  elif how == 'flip':
    data[len(data) // 3] ^= 4
  elif how == 'empty':
    data = b''
  elif how == 'foreign':
    data = b'PK' + data
  if how == 'gone':
    path.unlink()
  else:
    path.write_bytes(data)


@pytest.mark.parametrize('how', ['cut', 'flip', 'empty', 'foreign', 'gone'])
def test_damaged_steps_are_skipped_and_never_bridged(tmp_path, how, caplog):
  one = make(tmp_path, num_envs=1, capacity=60)
  for begin, end in ((0, 7), (7, 9), (9, 23)):
    fill(one, begin, end, num_envs=1)
    index = saved(one)
  path = tmp_path / [x for x in index['files'] if x.endswith('.data')][1]
  damage(path, how)
  two = make(tmp_path, num_envs=1, capacity=60, skip_damaged=True)
  two.load(index)
  # Times 7 and 8 are gone; 9, of the same chunk, follows on nothing.
  assert len(two) == 20
  assert two.stats()['skipped_files'] == 1
  assert path.name in caplog.text
  assert starts(two) == {*range(4), *range(10, 20)}
  for _ in range(50):
    batch, _ = two.sample()
    steps = batch['count'] - batch['count'][:, :1]
    np.testing.assert_array_equal(steps, [[0, 1, 2, 3]] * 2)


@pytest.mark.parametrize('how', ['cut', 'flip', 'empty', 'foreign', 'gone'])
def test_damaged_latents_start_as_zeros(tmp_path, how, caplog):
  one = fill(make(tmp_path), 0, 10)
  saved(one)
  index = saved(fill(one, 10, 20))
  damage(tmp_path / next(x for x in index['files'] if x.endswith('.side')), how)
  with pytest.raises(ValueError, match=r'1 files .*\.side.*skip_damaged=true'):
    make(tmp_path).load(index)
  two = make(tmp_path, skip_damaged=True)
  two.load(index)
  assert 'the latents of 20 of 40 steps are not stored' in caplog.text
  for _ in range(50):
    batch, _ = two.sample()
    known = batch['count'] % 1000 > 10
    np.testing.assert_array_equal(batch['latent/deter'].any(-1), known)
  # The next save has these zeros, too.
  three = make(tmp_path)
  three.load(saved(two))
  assert all(same(two.sample()[0], three.sample()[0]) for _ in range(9))


def test_a_damaged_file_of_an_index_is_refused_unless_told(tmp_path):
  index = saved(fill(make(tmp_path), 0, 23))
  path = next(tmp_path.glob('*.data'))
  damage(path, 'cut')
  text = rf'1 files of the checkpoint.*{path.name}.*skip_damaged=true'
  with pytest.raises(ValueError, match=text):
    make(tmp_path).load(index)


@pytest.mark.parametrize('how', ['cut', 'empty', 'foreign', 'gone'])
@pytest.mark.parametrize('kind', ['data', 'side'])
def test_a_check_refuses_what_a_load_does(tmp_path, how, kind):
  one = fill(make(tmp_path), 0, 10)
  saved(one)
  index = saved(fill(one, 10, 23))
  two = make(tmp_path)
  two.check(index)
  damage(next(tmp_path.glob(f'*.{kind}')), how)
  with pytest.raises(UserError, match=rf'1 files .*\.{kind}') as checked:
    two.check(index)
  assert len(two) == 0
  with pytest.raises(UserError) as loaded:
    two.load(index)
  if how in ('empty', 'foreign', 'gone'):
    assert str(checked.value) == str(loaded.value)
  make(tmp_path, skip_damaged=True).check(index)


def test_a_check_reads_no_steps(tmp_path, monkeypatch):
  index = saved(fill(make(tmp_path), 0, 23))

  def refuse(path):
    raise AssertionError('read')

  monkeypatch.setattr(type(tmp_path), 'read_bytes', refuse)
  two = make(tmp_path)
  two.check(index)
  with pytest.raises(IndexFormError, match='no replay saves this'):
    two.check(index | {'files': ['../a.data']})
  with pytest.raises(UserError, match='foreign, of chunk_size 5, not 6'):
    make(tmp_path, chunk_size=6).check(index)


def test_a_torn_head_breaks_the_streams(tmp_path):
  one = fill(make(tmp_path), 0, 22)
  saved(one)
  index = saved(fill(one, 22, 23))
  damage(
    tmp_path / [x for x in index['files'] if x.endswith('.data')][1], 'cut'
  )
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
def test_foreign_steps_are_refused_and_named(
  tmp_path, spaces, chunk_size, text
):
  index = saved(fill(make(tmp_path), 0, 10))
  config = {'capacity': 80, 'chunk_size': chunk_size}
  two = ChunkedReplay(spaces, 2, 2, 3, str(tmp_path), 0, **config)
  with pytest.raises(ValueError, match=text):
    two.load(index)


@pytest.mark.parametrize(
  'name', ['/etc/passwd', '../0000000000.data', 'a/0000000000.data', 'x', '']
)
def test_an_index_names_nothing_but_files_of_a_replay(tmp_path, name):
  index = saved(fill(make(tmp_path), 0, 10))
  index['files'].append(name)
  with pytest.raises(ValueError, match='no replay saves this'):
    make(tmp_path).load(index)


def test_a_smaller_pool_takes_the_newest(tmp_path):
  index = saved(fill(make(tmp_path), 0, 40))
  two = make(tmp_path, capacity=40)
  two.load(index)
  assert len(two) == 40 and starts(two) == set(range(20, 37))


def test_a_larger_pool_goes_on_with_the_same_draws(tmp_path):
  one = make(tmp_path, **ALL)
  train(one, 0, 40)
  index = saved(one)
  two = make(tmp_path, **(ALL | {'capacity': 5000}))
  two.load(index)
  assert all(map(same, train(one, 40, 58), train(two, 40, 58)))


def test_other_numbers_of_workers_load(tmp_path):
  index = saved(fill(make(tmp_path), 0, 20))
  two = make(tmp_path, num_envs=3, capacity=90)
  two.load(index)
  assert len(two) == 40 and starts(two) == set(range(17))
  fill(two, 500, 530, num_envs=3)
  assert len(two) == 90 and starts(two) <= set(range(500, 530))


def test_a_disk_that_refuses_is_named_and_nothing_is_lost(tmp_path):
  one = make(tmp_path, **ALL)
  train(one, 0, 20)
  saved(one)
  train(one, 20, 25)
  shutil.move(tmp_path, tmp_path.with_name('away'))
  one.save()
  text = 'could not be written .No such file or directory'
  with pytest.raises(OSError, match=text):
    one.wait()
  train(one, 25, 40)
  with pytest.raises(OSError, match=text):
    one.save()
  # Once there is room the same steps are written.
  shutil.move(tmp_path.with_name('away'), tmp_path)
  two = make(tmp_path, **ALL)
  two.load(saved(one))
  assert len(two) == len(one) == 80
  assert all(map(same, train(one, 40, 60), train(two, 40, 60)))


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / 'file').write_text('in the way')
  text = 'cannot be written .* Choose another workdir'
  with pytest.raises(OSError, match=text):
    make(tmp_path / 'file' / 'replay')


def test_without_a_directory_the_index_has_no_files():
  one = fill(make(), 0, 12)
  index = saved(one)
  two = make(seed=9)
  two.load(index)
  assert len(two) == 0 and not one.files(index)
  with pytest.raises(ValueError, match='without a directory'):
    two.load(index | {'version': 2, 'chunks': [[0, 0, 5, -1]]})
  one = make()
  np.testing.assert_array_equal(
    firsts(fill(two, 0, 9), 20), firsts(fill(one, 0, 9), 20)
  )


def test_a_file_holds_what_was_put_in():
  arrays = {
    'count': np.arange(1, 6, dtype=np.int32),
    'flag': np.array([True, False, True, True, False]),
    'latent/deter': np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 2, 2),
  }
  runs = chunkfile.runs_of(np.array([3, 3, 3, 4, 4]), np.array([0, 1, 3, 4, 5]))
  assert runs.tolist() == [[3, 0, 2], [3, 3, 1], [4, 4, 2]]
  meta, back, found = chunkfile.decode(
    chunkfile.encode({'kind': 'data'}, runs, arrays)
  )
  assert meta['kind'] == 'data' and meta['length'] == 5
  np.testing.assert_array_equal(back, runs)
  assert found.keys() == arrays.keys()
  for key, value in arrays.items():
    assert found[key].dtype == value.dtype
    np.testing.assert_array_equal(found[key], value)


def test_a_bucket_that_refuses_is_named(store, tmp_path, monkeypatch):
  place = f'gs://bkt/{tmp_path.name}/replay'
  one = make(place, **ALL)
  train(one, 0, 20)
  whole = gcsfs.core.GCSFileSystem._call

  async def call(*args, **kwargs):
    raise HttpError({'code': 503, 'message': 'try later'})

  monkeypatch.setattr(gcsfs.core.GCSFileSystem, '_call', call)
  one.save()
  with pytest.raises(OSError) as caught:
    one.wait()
  assert re.fullmatch(
    rf'replay file {place}/\d+\.data could not be written '
    r'\(http://.*/b/bkt/o: try later, 503\)',
    str(caught.value),
  )
  with pytest.raises(OSError, match=f'^replay directory {place}: cannot be'):
    make(place, **ALL)
  monkeypatch.setattr(gcsfs.core.GCSFileSystem, '_call', whole)
  with pytest.raises(OSError, match='try later'):
    one.save()
  two = make(place, **ALL)
  two.load(saved(one))
  assert len(two) == len(one)


def test_a_folder_that_two_look_at_can_be_written(store, tmp_path, monkeypatch):
  whole, probes = gcsfs.core.GCSFileSystem._call, []

  async def call(self, method, path, *args, **kwargs):
    result = await whole(self, method, path, *args, **kwargs)
    name = f'{tmp_path.name}/replay/.probe.tmp'
    with contextlib.suppress(FileNotFoundError):
      if method == 'POST':
        await whole(self, 'DELETE', 'b/{}/o/{}', 'bkt', name)
        probes.append(name)
    return result

  monkeypatch.setattr(gcsfs.core.GCSFileSystem, '_call', call)
  make(f'gs://bkt/{tmp_path.name}/replay', **ALL)
  assert probes


def test_files_half_written_are_left_to_who_writes_there(tmp_path):
  one = make(tmp_path)
  train(one, 0, 20)
  index = saved(one)
  partial = tmp_path / '.0000000009.data.tmp'
  partial.write_bytes(b'half')
  # Another process reads, while the first one writes.
  make(tmp_path).load(index)
  assert partial.exists()
  one.retain(one.files(index))
  train(one, 20, 25)
  saved(one)
  assert not partial.exists()
