"""What an environment does to its host is said, and loses nothing."""

import logging
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest

from dreamer_nnx import notices
from dreamer_nnx.envs import children, single
from tests.envs.games import Counter, start

ACTION = {'action': np.zeros(2, np.int32)}
BOTH = pytest.mark.parametrize('workers', ['sync', 'async'])
SLEEP = [sys.executable, '-c', 'import time; time.sleep(100)']


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
  notices.WARNED.clear()
  monkeypatch.chdir(os.getcwd())


class ClosesBadly(Counter):
  def close(self):
    raise OSError('the window is gone')


class Moves(Counter):
  def __init__(self, folder, when):
    super().__init__()
    self.folder, self.when = folder, when
    self._move('make')

  def reset(self, **arguments):
    self._move('reset')
    return super().reset(**arguments)

  def _move(self, when):
    if when == self.when:
      os.chdir(self.folder)


class Starts(Counter):
  """Starts processes of its own and leaves them running."""

  def __init__(self, folder, index):
    super().__init__()
    # In the name of a file, for it is known to another process only.
    child = subprocess.Popen(SLEEP)
    (folder / str(child.pid)).touch()
    child.returncode = 0  # Not waited for, nor warned of.


@BOTH
def test_a_close_that_raises_is_told_and_does_no_harm(workers, caplog):
  env = start(lambda i: ClosesBadly(), workers)
  env.reset()
  with caplog.at_level(logging.WARNING):
    env.close()
  if workers == 'sync':
    assert caplog.text.count('close raised OSError: the window is gone') == 2
  assert not multiprocessing.active_children()


@pytest.mark.parametrize('when', ['make', 'reset'])
def test_a_changed_folder_is_told_once(when, tmp_path, caplog):
  before = os.getcwd()
  folders = [tmp_path, *(tmp_path / str(i) for i in range(5))]
  for folder in folders[1:]:
    folder.mkdir()
  rest = iter(folders)
  env = start(lambda i: Moves(next(rest), when))
  for _ in range(2):
    env.reset()
  env.close()
  assert caplog.text.count('has changed the current folder') == 1
  assert f'from {before} to {tmp_path}' in caplog.text


def test_a_folder_that_is_gone_ends_nothing(tmp_path, caplog):
  class Deletes(Counter):
    def reset(self, **arguments):
      folder = tempfile.mkdtemp(dir=tmp_path)
      os.chdir(folder)
      os.rmdir(folder)
      return super().reset(**arguments)

  env = start(lambda i: Deletes())
  assert env.reset()['is_first'].all()
  for _ in range(4):
    env.step(ACTION)
  env.close()
  assert 'to one that is gone' in caplog.text
  assert 'close raised' not in caplog.text


@BOTH
def test_an_error_without_words_is_told_of(workers, caplog):
  class Wordless(Exception):
    def __str__(self):
      raise ValueError

  class Raises(Counter):
    def step(self, action):
      raise Wordless

  env = start(lambda i: Raises() if i else Counter(), workers)
  env.reset()
  with caplog.at_level(logging.WARNING):
    assert env.step(ACTION)['is_last'].tolist() == [False, True]
  assert 'Wordless: <exception str() failed>' in caplog.text
  env.close()


def gone(pid):
  end = time.monotonic() + 60
  while time.monotonic() < end:
    try:
      os.kill(pid, 0)
    except ProcessLookupError:
      return True
    time.sleep(0.05)
  return False


@BOTH
def test_processes_that_are_left_behind_are_ended(workers, tmp_path, caplog):
  env = start(lambda i: Starts(tmp_path, i), workers)
  env.reset()
  pids = [int(path.name) for path in tmp_path.iterdir()]
  assert len(pids) == 2 and not any(map(os.kill, pids, (0, 0)))
  with caplog.at_level(logging.WARNING):
    env.close()
  assert all(map(gone, pids))
  assert caplog.text.count('left process') == 2


def test_processes_of_others_are_left_alone():
  other = subprocess.Popen(SLEEP)
  env = start(lambda i: Counter())
  env.reset()
  env.close()
  assert other.poll() is None and other.pid in children.alive()
  other.kill()
  other.wait()


def test_floats_out_of_bounds_are_told_once_and_kept(caplog):
  class Leaves(Counter):
    observation_space = single.gymnasium.spaces.Box(-1, 1, (2,), np.float32)

  env = start(lambda i: Leaves())
  env.reset()
  with caplog.at_level(logging.WARNING):
    seen = [env.step(ACTION)['vector'][0, 1] for _ in range(3)]
  assert seen == [1, 2, 3]
  assert caplog.text.count("observation 'vector' of environment 0 is 2.0") == 1
  assert 'Box(-1.0, 1.0, (2,), float32)' in caplog.text
  env.close()
