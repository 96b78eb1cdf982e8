"""Replays larger than memory, and what is reserved for them."""

import re
import subprocess
import sys

import numpy as np
import pytest

from dreamer_nnx import paths
from dreamer_nnx.replay import memory
from dreamer_nnx.replay.chunked import ChunkedReplay
from tests.launcher import ROOT
from tests.replay.streams import by_share, fill, make, same, space

IMAGES = {'image': space((64, 64, 3), 'uint8')}


def of_images(tmp_path, **config):
  config = {'capacity': 2**16, 'chunk_size': 256} | config
  return ChunkedReplay(IMAGES, 2, 2, 3, str(tmp_path), 0, **config)


@pytest.fixture
def little_memory(monkeypatch):
  monkeypatch.setattr(memory, 'available_bytes', lambda: 64 << 20)


def test_what_fits_is_in_memory_and_said(tmp_path):
  (note,) = make(tmp_path).notes
  assert re.fullmatch(
    r'Replay: 80 steps of 20 bytes, 0.0 GiB, in memory.', note
  )
  assert not (tmp_path / 'pool').exists()


def test_what_does_not_fit_is_on_disk_and_said(tmp_path, little_memory):
  (note, *_) = of_images(tmp_path).notes
  assert 'Replay: 65,536 steps of 12,288 bytes, 0.8 GiB, in files in' in note
  assert str(tmp_path / 'pool') in note and '0.1 GiB are free' in note


def test_a_scratch_folder_can_be_named(tmp_path, little_memory):
  (note, *_) = of_images(tmp_path / 'a', scratch=str(tmp_path / 'b')).notes
  assert str(tmp_path / 'b') in note
  assert (tmp_path / 'b').is_dir() and not (tmp_path / 'a' / 'pool').exists()


def test_memory_that_does_not_suffice_is_refused(tmp_path, little_memory):
  with pytest.raises(ValueError, match='storage=disk keeps steps in files'):
    of_images(tmp_path, storage='memory')


def test_a_disk_that_will_not_suffice_is_told_of_with_what_would_fit(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(paths, 'free_bytes', lambda folder: 100 << 20)
  (_, note, _) = of_images(tmp_path, storage='disk').notes
  text = (
    r'Warning: 0.1 GiB are free in .*pool; when they are full, the run ends. '
    r'Set .*capacity to (\d+) or less, or name a folder on another disk by '
    r'--scratch.'
  )
  fits = int(re.fullmatch(text, note)[1])
  assert fits % 512 == 0 and 0 < (100 << 20) - fits * 12288 < 512 * 12288


def test_a_workdir_that_will_not_suffice_is_warned_of(tmp_path, monkeypatch):
  monkeypatch.setattr(paths, 'free_bytes', lambda folder: 1000 << 20)
  assert len(of_images(tmp_path, storage='disk').notes) == 2
  monkeypatch.setattr(paths, 'free_bytes', lambda folder: 1600 << 20)
  assert len(of_images(tmp_path, storage='disk').notes) == 1
  # A resumed run needs no more than it has already.
  monkeypatch.setattr(paths, 'stored_bytes', lambda folder: 700 << 20)
  monkeypatch.setattr(paths, 'free_bytes', lambda folder: 900 << 20)
  assert len(of_images(tmp_path, storage='disk').notes) == 1


def test_only_the_steps_of_the_run_are_reserved(tmp_path):
  note = lambda **kw: of_images(tmp_path, **kw).notes[0]
  assert note(steps=10_000).startswith('Replay: 10,240 steps')
  assert note(steps=10**9).startswith('Replay: 65,536 steps')
  # Several processes share the steps; a batch has to fit in each.
  four = {'process': 1, 'processes': 4}
  assert note(steps=20_000, **four).startswith('Replay: 5,120 steps')
  assert note(steps=1).startswith('Replay: 1,024 steps')


def test_a_run_of_all_steps_recycles_nothing():
  replay = fill(make(capacity=2000, steps=147), 0, 74)
  assert len(replay) == 148


def test_files_take_room_as_they_fill(tmp_path):
  size = lambda: sum(
    path.stat().st_blocks for path in tmp_path.iterdir() if path.is_file()
  )
  replay = make(tmp_path, storage='disk', capacity=2000)
  # Without names they go with the process, however it ends.
  fill(replay, 0, 50)
  assert not list((tmp_path / 'pool').iterdir()) and size() == 0


def test_steps_on_disk_are_those_in_memory(tmp_path):
  config = {'online': True, 'consec': 2}
  config['selectors'] = by_share(uniform=1.0, recency=1.0)
  one = make(tmp_path, storage='disk', **config)
  two = make('', storage='memory', **config)
  for time in range(0, 90, 2):
    fill(one, time, time + 2)
    fill(two, time, time + 2)
    if one.ready:
      (batch, handle), (other, _) = one.sample(), two.sample()
      assert same(batch, other)
      value = np.full((2, 3, 2), time, np.float32)
      one.update(handle, {'latent/deter': value}, {})
      two.update(handle, {'latent/deter': value}, {})


def test_a_full_disk_is_named_before_a_page_is_written(tmp_path):
  script = (
    f'mount -t tmpfs -o size=8m tmpfs {tmp_path} && '
    f'{sys.executable} -m tests.replay.overfill {tmp_path}'
  )
  done = subprocess.run(
    ['unshare', '--map-root-user', '--mount', 'sh', '-c', script],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert re.fullmatch(
    r'replay scratch folder .*: steps cannot be kept there .No space left on '
    r'device.\. Free some, or name another one by --scratch\n',
    done.stdout,
  ), done.stderr


def test_anonymous_memory_stays_small_while_steps_go_to_disk(tmp_path):
  done = subprocess.run(
    [sys.executable, '-m', 'tests.replay.overfill', str(tmp_path), '400'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  # 400 MB of steps, of which the process itself keeps next to nothing.
  assert int(done.stdout) < 60 << 20, done.stdout + done.stderr


def test_a_footprint_is_what_the_arrays_take(tmp_path):
  selectors = by_share(priority=1.0)
  replay = of_images(tmp_path, selectors=selectors, signals=('model',))
  found, pool = replay.footprint, replay._pool
  assert found.steps == len(pool.has_entry)
  steps = sum(x.nbytes for x in pool.flat.values())
  columns = sum(x.nbytes for x in pool.columns.values())
  assert steps + columns <= found.memory <= 1.05 * (steps + columns)
  assert (found.mapped, found.folder) == (0, '')
  assert found.saved >= steps
  on_disk = of_images(tmp_path, storage='disk').footprint
  assert (on_disk.mapped, on_disk.folder) == (steps, str(tmp_path / 'pool'))
  assert on_disk.memory < 0.01 * steps
  assert of_images('').footprint.saved == 0


def test_a_replay_is_ready_when_its_footprint_says():
  replay = make(capacity=2000, steps=0)
  begin, step = replay.footprint.begin, 0
  while not replay.ready:
    fill(replay, step, step + 1)
    step += 1
  assert step == -(-begin // replay.num_envs)


def test_memory_is_that_of_the_tightest_group_around(tmp_path, monkeypatch):
  monkeypatch.setattr(memory, '_CGROUP', tmp_path)
  monkeypatch.setattr(memory, '_OWN', tmp_path / 'own')
  inner = tmp_path / 'a' / 'b'
  inner.mkdir(parents=True)
  free = memory._free_in_group
  assert free() == memory._UNLIMITED
  (tmp_path / 'own').write_text('1:cpu:/c\n0::/a/b\n')
  for folder, limit in ((inner, 'max'), (inner.parent, '900')):
    (folder / 'memory.max').write_text(limit)
    (folder / 'memory.current').write_text('500')
    (folder / 'memory.stat').write_text('anon 3\ninactive_file 100\n')
  assert free() == 500
  (inner / 'memory.max').write_text('700')
  assert free() == 300
