"""A workdir belongs to one run at a time."""

import contextlib
import fcntl
import os
import pathlib
import socket
from collections.abc import Iterator

from dreamer_nnx import paths

LOCK = '.lock'
FOLDERS = ('checkpoints', 'replay', 'videos', 'profile')


class WorkdirError(ValueError):
  """A workdir cannot be used."""


def check(workdir: pathlib.Path) -> None:
  """Refuses a workdir from which something that a run uses leads away.

  Raises:
    WorkdirError: A link leads out of it, or what should be a file is none.
  """
  try:
    if workdir.is_dir():
      paths.check_inside(workdir, workdir, FOLDERS)
  except paths.PathError as error:
    raise WorkdirError(f'--workdir={workdir}: {error}') from error


@contextlib.contextmanager
def owned(workdir: pathlib.Path) -> Iterator[None]:
  """Holds the lock of a workdir, which a process gives back however it ends.

  Raises:
    WorkdirError: Another process has it, or it cannot be written.
  """
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    file = (workdir / LOCK).open('a+')
  except OSError as error:
    raise WorkdirError(
      f'--workdir={workdir}: cannot be written ({error.strerror}). Choose '
      'another workdir.'
    ) from error
  with file:
    _lock(file, workdir)
    yield


def _lock(file, workdir: pathlib.Path) -> None:
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    file.seek(0)
    owner = file.read().strip() or 'another process'
    raise WorkdirError(
      f'--workdir={workdir}: {owner} trains in it. Wait for its end, stop it, '
      'or choose another workdir.'
    ) from error
  except OSError:
    # Some network file systems have no locks; the run goes on without.
    return
  file.truncate(0)
  file.write(f'process {os.getpid()} on {socket.gethostname()}')
  file.flush()
