"""The lock of a workdir, so that it belongs to one run at a time."""

import contextlib
import fcntl
import os
import pathlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple, TextIO

from dreamer_nnx import paths
from dreamer_nnx.errors import UserError
from dreamer_nnx.training import checkpoint_files as files
from dreamer_nnx.training import lease as leases
from dreamer_nnx.training import record as record_files

LOCK, REPLAY = '.lock', 'replay'
FOLDERS = (files.FOLDER, REPLAY, 'videos', 'profile')
# Files that other processes may write meanwhile.
EVALUATED = re.compile(r'evaluations(_\d+)?\.jsonl')
# Depth of the folders in a checkpoint, at least.
DEEPEST = 6


class WorkdirError(UserError):
  """A workdir cannot be used."""


def check(workdir: paths.Path) -> None:
  """Refuses a workdir with links that lead out of it.

  Raises:
    WorkdirError: A link leads out of it, or what should be a file is none.
  """
  try:
    if not paths.in_bucket(workdir) and workdir.is_dir():
      paths.check_inside(workdir, workdir, FOLDERS)
  except paths.PathError as error:
    raise WorkdirError(str(error), f'--workdir={workdir}') from error


class Owner(NamedTuple):
  """The holder of the lock of a workdir.

  Args:
    check: Raises WorkdirError if the lock was lost meanwhile, which can happen
      in a bucket alone.
    keep: Says that the run has started. What it has left in the workdir when
      it ends before that is removed.
  """

  check: Callable[[], None]
  keep: Callable[[], None]


@contextlib.contextmanager
def lock_workdir(workdir: paths.Path) -> Iterator[Owner]:
  """Holds the lock of a workdir, which a process gives back however it ends.

  Raises:
    WorkdirError: Another process has it, it cannot be written, or it is inside
      of another run.
  """
  started = threading.Event()
  with _reaching(workdir):
    _check_place(workdir)
    before = InitialContents(workdir)
  try:
    with _locked(workdir) as check:
      with _reaching(workdir):
        before.look()
      try:
        yield Owner(check, started.set)
      finally:
        if not started.is_set() and _holds(check):
          # The error that ended the start is the one to tell.
          with contextlib.suppress(OSError, WorkdirError), _reaching(workdir):
            before.put_back()
  finally:
    if not started.is_set():
      before.remove_folders()


def _holds(check: Callable[[], None]) -> bool:
  try:
    check()
  except WorkdirError:
    return False
  return True


def _check_place(workdir: paths.Path) -> None:
  """Refuses a workdir that is part of a checkpoint or of another run."""
  for folder in paths.around(workdir)[:DEEPEST]:
    run = folder.parent
    record = run / files.FOLDER / record_files.FILE
    if all((folder / item).is_dir() for item in files.REQUIRED):
      what, run = 'a checkpoint', folder.parents[1]
    elif (folder / record_files.FILE).is_file():
      what = 'the checkpoints'
    elif folder.name in FOLDERS and record.is_file():
      what = f'the folder {folder.name!r}'
    else:
      continue
    raise WorkdirError(
      f'is part of {what} of the run in {run}. Name that run, or a folder '
      'elsewhere.',
      f'--workdir={workdir}',
    )


class InitialContents:
  """Contents of a workdir before a run starts there.

  Made before the lock is taken, and looked at once it is held: another run
  may have saved and ended meanwhile.
  """

  def __init__(self, workdir: paths.Path):
    self._workdir = workdir
    ancestors = () if paths.in_bucket(workdir) else (workdir, *workdir.parents)
    self._missing = [path for path in ancestors if not path.exists()]
    self._folders = [workdir, workdir / files.FOLDER, workdir / REPLAY]
    self._record = workdir / files.FOLDER / record_files.FILE
    self._locked = _names(workdir) & {LOCK}

  def look(self) -> None:
    """Notes what is there, but for the lock that is held."""
    self._names = {folder: _names(folder) for folder in self._folders}
    if not self._locked:
      self._names[self._workdir].discard(LOCK)
    exists = self._record.is_file()
    self._recorded = paths.read(self._record) if exists else None

  def put_back(self) -> None:
    """Removes what was added since, and restores the record of the start."""
    old = self._recorded
    if old is not None and paths.read(self._record) != old:
      paths.write(self._record, old)
    # An object that is a lock is removed by its owner alone.
    kept = {LOCK} if paths.in_bucket(self._workdir) else set()
    for folder in reversed(self._folders):
      for name in _names(folder) - self._names[folder] - kept:
        if not EVALUATED.fullmatch(name):
          paths.remove(folder / name)

  def remove_folders(self) -> None:
    """Removes the workdir, and the folders around it, if they were made."""
    with contextlib.suppress(OSError):
      for path in self._missing:
        path.rmdir()


def _names(folder: paths.Path) -> set[str]:
  return {entry.name for entry in paths.entries(folder)}


@contextlib.contextmanager
def _reaching(workdir: paths.Path) -> Iterator[None]:
  """Turns a refusal of a bucket into an error that names the workdir."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    reason = paths.refusal(error) or (isinstance(error, OSError) and error)
    if not reason or not paths.in_bucket(workdir):
      raise
    if isinstance(error, FileNotFoundError):
      reason = f'there is no {error}'
    raise WorkdirError(
      f'the bucket cannot be used ({reason}).', f'--workdir={workdir}'
    ) from error


@contextlib.contextmanager
def _locked(workdir: paths.Path) -> Iterator[Callable[[], None]]:
  if paths.in_bucket(workdir):
    with _leased(workdir) as check:
      yield check
    return
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    file = (workdir / LOCK).open('a+')
  except OSError as error:
    raise WorkdirError(
      f'cannot be written ({error.strerror}). Choose another workdir.',
      f'--workdir={workdir}',
    ) from error
  with file:
    _lock(file, workdir)
    yield lambda: None


@contextlib.contextmanager
def _leased(workdir: paths.Path) -> Iterator[Callable[[], None]]:
  with _reaching(workdir):
    try:
      lease = leases.Lease(workdir / LOCK)
    except leases.LeaseError as error:
      raise _taken(workdir, str(error)) from error
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
    f'{owner} trains in it. Wait for its end, stop it, or choose another '
    'workdir.',
    f'--workdir={workdir}',
  )


def _lock(file: TextIO, workdir: pathlib.Path) -> None:
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    file.seek(0)
    owner = file.read().strip() or 'another process'
    raise _taken(workdir, owner) from error
  except OSError:
    # Some network file systems have no locks; the run goes on without.
    return
  if not _is_at(file, workdir / LOCK):
    # Another run did not start, and has just removed it.
    raise _taken(workdir, 'another process')
  file.truncate(0)
  file.write(f'process {os.getpid()} on {socket.gethostname()}')
  file.flush()


def _is_at(file: TextIO, path: pathlib.Path) -> bool:
  try:
    return os.path.samestat(os.fstat(file.fileno()), path.stat())
  except FileNotFoundError:
    return False
