"""The directory of stored chunks: names, background writes, deletions."""

import pathlib
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from dreamer_nnx.replay import chunkfile, sharing

_NAME = re.compile(r'(\d{10})-(\d{6,})-(\d{10})\.(data|side)')
_NEVER = -(2**31)


class Name(NamedTuple):
  """What a file name says; a serial number is given once a directory."""

  chunk: int
  length: int
  serial: int
  kind: str

  def __str__(self) -> str:
    return f'{self.chunk:010d}-{self.length:06d}-{self.serial:010d}.{self.kind}'


def parse(text: str) -> Name | None:
  """Of a file name, with or without its folder."""
  match = _NAME.fullmatch(text.rpartition('/')[2])
  if not match:
    return None
  chunk, length, serial, kind = match.groups()
  return Name(int(chunk), int(length), int(serial), kind)


class ChunkDirectory:
  """Immutable files, written by threads and deleted when out of use.

  A retired file stays until more than `keep` indices have been saved since,
  so that an index saved before still finds what it names.

  Each process writes in a folder of its own. Files are named from the folder
  of all, for a process can take over what another one wrote.
  """

  def __init__(self, directory: str, keep: int, process: int = 0):
    self.root = pathlib.Path(directory)
    self._prefix = sharing.prefix(process)
    self.path = self.root / self._prefix
    self._first_id = process * sharing.RANGE
    self._keep = keep
    self._saves = 0
    self._serial = 0
    self._named_serial = -1  # Files after this one are in no index yet.
    self._retired: dict[str, int] = {}
    self._writes: list[tuple[Name, Future]] = []
    self._threads = ThreadPoolExecutor(2, 'replay')
    self.skipped: dict[str, str] = {}
    self.written_bytes = 0
    self._check_writable()
    self._serial = max((n.serial for n in self.names()), default=-1) + 1

  def names(self) -> list[Name]:
    """The files that are named like chunks, good or not."""
    parsed = (parse(path.name) for path in self.path.iterdir())
    return [name for name in parsed if name]

  def strangers(self) -> list[str]:
    """The files that are not named like chunks."""
    files = (path for path in self.path.iterdir() if path.is_file())
    return sorted(file.name for file in files if not parse(file.name))

  def text(self, name: Name) -> str:
    return f'{self._prefix}{name}'

  def next_id(self, known: Iterable[int] = ()) -> int:
    """A number of this process, younger than known ones and its files."""
    given = [*known, *(name.chunk for name in self.names())]
    return (
      self._first_id + max((x % sharing.RANGE for x in given), default=-1) + 1
    )

  def write(
    self,
    chunk: int,
    kind: str,
    meta: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
  ) -> str:
    """Starts to write a file; `join` waits for it and tells of errors.

    The arrays may change meanwhile (the file then holds either value), but
    must not be given to another chunk.
    """
    name = Name(chunk, meta['length'], self._serial, kind)
    self._serial += 1
    path = self.path / str(name)
    future = self._threads.submit(chunkfile.write, path, meta, arrays)
    self._writes.append((name, future))
    return self.text(name)

  def join(self) -> dict[str, OSError]:
    """Waits for all writes; returns the errors of those that failed."""
    writes, self._writes = self._writes, []
    failed = {}
    for name, future in writes:
      error = future.exception()
      if isinstance(error, OSError):
        failed[self.text(name)] = error
      else:
        self.written_bytes += future.result()
    return failed

  def read(self, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Raises ChunkFileError for a missing, torn or foreign file."""
    return chunkfile.read(self.root / name)

  def skip(self, name: str, reason: str) -> None:
    """Counts and names a file that is not used."""
    if name not in self.skipped:
      logging.warning('replay: skipped %s: %s.', self.root / name, reason)
    self.skipped[name] = reason

  def retire(self, names: Iterable[str | None]) -> None:
    """Marks files as out of use."""
    for text in names:
      name = parse(text) if text else None
      if name:
        own = text == self.text(name)
        unnamed = own and name.serial > self._named_serial
        self._retired.setdefault(text, _NEVER if unnamed else self._saves)

  def close_index(self) -> dict[str, Any]:
    """Counts one more saved index and deletes what none needs now."""
    self._saves += 1
    self._named_serial = self._serial - 1
    for name, since in list(self._retired.items()):
      if self._saves - since > self._keep:
        (self.root / name).unlink(missing_ok=True)
        del self._retired[name]
    return {'saves': self._saves, 'retired': self._retired.copy()}

  def open_index(self, index: Mapping[str, Any], unused: Iterable[str]) -> None:
    """Goes on from a saved index; retires what is not used any more."""
    self._saves = max(self._saves, index.get('saves', 0))
    self._retired = dict(index.get('retired', {}))
    self._named_serial = self._serial - 1
    self.retire(name for name in unused if name not in self.skipped)

  def clean(self) -> None:
    """Removes what a killed process left half written."""
    for path in self.path.glob('.*.tmp'):
      path.unlink(missing_ok=True)

  def _check_writable(self) -> None:
    probe = self.path / '.probe.tmp'
    try:
      self.path.mkdir(parents=True, exist_ok=True)
      probe.write_bytes(b'')
      probe.unlink()
    except OSError as error:
      raise OSError(
        error.errno,
        f'replay directory {self.path}: cannot be written '
        f'({error.strerror}). Choose another workdir',
      ) from error
