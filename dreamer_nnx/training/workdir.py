"""A workdir belongs to one run at a time."""

import contextlib
import fcntl
import os
import pathlib
import socket
from collections.abc import Callable, Iterator

from dreamer_nnx import paths
from dreamer_nnx.errors import UserError
from dreamer_nnx.training import lease as leases

LOCK = '.lock'
FOLDERS = ('checkpoints', 'replay', 'videos', 'profile')


class WorkdirError(UserError):
  """A workdir cannot be used."""


def check(workdir: paths.Path) -> None:
  """Refuses a workdir from which something that a run uses leads away.

  Raises:
    WorkdirError: A link leads out of it, or what should be a file is none.
  """
  try:
    if not paths.in_bucket(workdir) and workdir.is_dir():
      paths.check_inside(workdir, workdir, FOLDERS)
  except paths.PathError as error:
    raise WorkdirError(f'--workdir={workdir}: {error}') from error


@contextlib.contextmanager
def owned(workdir: paths.Path) -> Iterator[Callable[[], None]]:
  """Holds the lock of a workdir, which a process gives back however it ends.

  Yields:
    A function that raises WorkdirError if the lock was lost meanwhile, which
    can happen in a bucket alone.

  Raises:
    WorkdirError: Another process has it, or it cannot be written.
  """
  if paths.in_bucket(workdir):
    with _leased(workdir) as check:
      yield check
    return
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
    yield lambda: None


@contextlib.contextmanager
def _leased(workdir: paths.Path) -> Iterator[Callable[[], None]]:
  try:
    lease = leases.Lease(workdir / LOCK)
  except leases.LeaseError as error:
    raise _taken(workdir, str(error)) from error
  except Exception as error:
    if not (reason := paths.refused(error)) and not isinstance(error, OSError):
      raise
    raise WorkdirError(
      f'--workdir={workdir}: the bucket cannot be used ({reason or error}).'
    ) from error
  if not lease.holds:
    print(
      f'{workdir}: this store ignores preconditions, so its lock cannot hold: '
      'take care that one run alone trains in it.',
      flush=True,
    )

  def check() -> None:
    try:
      lease.check()
    except leases.LeaseError as error:
      raise _taken(workdir, str(error)) from error

  with contextlib.closing(lease):
    yield check


def _taken(workdir: paths.Path, owner: str) -> WorkdirError:
  return WorkdirError(
    f'--workdir={workdir}: {owner} trains in it. Wait for its end, stop it, '
    'or choose another workdir.'
  )


def _lock(file, workdir: pathlib.Path) -> None:
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    file.seek(0)
    owner = file.read().strip() or 'another process'
    raise _taken(workdir, owner) from error
  except OSError:
    # Some network file systems have no locks; the run goes on without.
    return
  file.truncate(0)
  file.write(f'process {os.getpid()} on {socket.gethostname()}')
  file.flush()
