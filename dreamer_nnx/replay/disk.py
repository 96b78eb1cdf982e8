"""The folder of stored steps: names, atomic writes, deletions."""

import contextlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from absl import logging

from dreamer_nnx import paths
from dreamer_nnx.replay import chunkfile, sharing
from dreamer_nnx.replay.index import is_name

_FOLDER = re.compile(r'process_\d{1,6}/')


def serial(name: str) -> int:
  """Number of a file in its folder, in order of writing.

  Raises:
    ValueError: It is not named like a file of a replay.
  """
  if not is_name(name):
    raise ValueError(f'replay: {name!r} is not the name of a stored file.')
  return int(name.rpartition('.')[0][-10:])


class ChunkDirectory:
  """Immutable files, complete or absent, on a disk or in a bucket.

  Each process writes in a folder of its own. Names of files begin with that
  folder, for a process can load what another one wrote.
  """

  def __init__(self, directory: str, process: int = 0):
    self.root = paths.parse(directory, 'replay directory')
    self._prefix = sharing.prefix(process)
    self.path = self.root / self._prefix if self._prefix else self.root
    self.skipped: dict[str, str] = {}
    self.written_bytes = 0
    self._check_writable()
    self._serial = 1 + max(map(serial, self.names()), default=-1)

  def names(self) -> list[str]:
    """Names of this process's files, damaged or not, in order of writing."""
    return [f'{self._prefix}{name}' for name in _files(self.path)]

  def all_names(self) -> set[str]:
    """Names of the files of all processes."""
    folders = self._folders(0, 1)
    return {
      f'{prefix}{x}' for folder, prefix in folders for x in _files(folder)
    }

  def new_names(self, kind: str, count: int) -> list[str]:
    """Names for files to be written, younger than all others."""
    first, self._serial = self._serial, self._serial + count
    return [
      f'{self._prefix}{number:010d}.{kind}'
      for number in range(first, self._serial)
    ]

  def number_after(self, names: Collection[str]) -> None:
    """Numbers new files after these."""
    self._serial = max(self._serial, 1 + max(map(serial, names), default=-1))

  def write(
    self,
    name: str,
    meta: Mapping[str, Any],
    runs: np.ndarray,
    arrays: Mapping[str, np.ndarray],
  ) -> None:
    """Writes a file; see `chunkfile.encode`.

    Raises:
      OSError: It cannot be written; none is left behind.
    """
    data = chunkfile.encode(meta, runs, arrays)
    try:
      paths.write(self.root / name, data)
    except OSError as error:
      raise _told(
        error, f'replay file {self.root / name} could not be written'
      ) from error
    self.written_bytes += len(data)

  def read(
    self, name: str, check: Callable[[Mapping[str, Any]], None]
  ) -> tuple[dict[str, Any], np.ndarray, dict[str, np.ndarray]]:
    """Reads what `chunkfile.encode` was given.

    Args:
      check: Raises ChunkFileError for the description of a foreign file; a
        large file is asked about before it is read.

    Raises:
      ChunkFileError: The file is missing, torn or foreign.
    """
    with _refusing_unreadable():
      serial(name)
      path = self.root / name
      size = paths.size(path)
      if not chunkfile.is_small(size):
        _look(path, size, check)
      data = paths.read(path)
    found = chunkfile.decode(data)
    with chunkfile.refusing_malformed():
      check(found[0])
    return found

  def look(self, name: str, check: Callable[[Mapping[str, Any]], None]) -> None:
    """Checks a file by its size and description; see `read`.

    Raises:
      ChunkFileError: The file is missing, cut short or foreign.
    """
    with _refusing_unreadable():
      serial(name)
      path = self.root / name
      _look(path, paths.size(path), check)

  def skip(self, name: str, reason: str) -> None:
    """Counts and names a file that is not used."""
    if name not in self.skipped:
      logging.warning('replay: skipped %s: %s.', self.root / name, reason)
    self.skipped[name] = reason

  def delete_unused(
    self, keep: Collection[str], before: int, share: int, shares: int
  ) -> None:
    """Deletes the files that are not to be kept, and those half written.

    For the one that writes in the folder, and when no write is in progress.

    Args:
      before: Files of this process from this serial number on stay.
      share, shares: Folders of processes that are gone are divided among the
        shares.
    """
    self._delete_partial()
    for folder, prefix in self._folders(share, shares):
      for name in _files(folder):
        full_name = f'{prefix}{name}'
        young = prefix == self._prefix and serial(name) >= before
        if full_name not in keep and not young:
          (folder / name).unlink(missing_ok=True)

  def _delete_partial(self) -> None:
    """Deletes files that a killed process left; in a bucket there are none."""
    if paths.in_bucket(self.path):
      return
    for path in self.path.glob('.*.tmp'):
      path.unlink(missing_ok=True)

  @property
  def next_serial(self) -> int:
    return self._serial

  def _folders(self, share: int, shares: int) -> list[tuple[Any, str]]:
    folders = [(self.root, '')] if not share else []
    for folder in sorted(self.root.glob('process_*')):
      prefix = f'{folder.name}/'
      is_process = _FOLDER.fullmatch(prefix) and folder.is_dir()
      if is_process and sharing.writer(prefix) % shares == share:
        folders.append((folder, prefix))
    return folders

  def _check_writable(self) -> None:
    probe = self.path / '.probe.tmp'
    try:
      self.path.mkdir(parents=True, exist_ok=True)
      probe.write_bytes(b'')
      # A process that looks at the same folder has removed it, at times.
      probe.unlink(missing_ok=True)
    except OSError as error:
      what = f'replay directory {self.path}: cannot be written'
      raise _told(error, what, '. Choose another workdir') from error


def _told(error: OSError, what: str, remedy: str = '') -> OSError:
  text = f'{what} ({error.strerror or error}){remedy}'
  # A bucket has no numbers of errors.
  return OSError(error.errno, text) if error.errno else OSError(text)


@contextlib.contextmanager
def _refusing_unreadable() -> Iterator[None]:
  """Turns errors of a file that cannot be read into ChunkFileError."""
  try:
    yield
  except FileNotFoundError as error:
    raise chunkfile.ChunkFileError('missing') from error
  except chunkfile.ChunkFileError:
    raise
  except (OSError, ValueError) as error:
    reason = getattr(error, 'strerror', None) or str(error)
    raise chunkfile.ChunkFileError(reason) from error


def _look(
  path: paths.Path, size: int, check: Callable[[Mapping[str, Any]], None]
) -> None:
  meta = chunkfile.peek(size, partial(_read_part, path))
  with chunkfile.refusing_malformed():
    check(meta)


def _read_part(path: paths.Path, start: int, count: int) -> bytes:
  with path.open('rb') as file:
    file.seek(start)
    return file.read(count)


def _files(folder: paths.Path) -> list[str]:
  """Names of the stored files in a folder, in order of writing."""
  names = (path.name for path in paths.entries(folder))
  return sorted(filter(is_name, names), key=serial)
