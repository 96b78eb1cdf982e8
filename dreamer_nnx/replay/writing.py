"""Writes steps to files in the background, while training overwrites them."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from absl import logging

from dreamer_nnx.replay.chunks import ChunkPool

# Bytes copied between two moments at which training can write.
_PIECE = 1 << 20


class File(NamedTuple):
  """A written file, its rows of the pool, and the numbers of their chunks."""

  name: str
  kind: str
  rows: np.ndarray
  idents: np.ndarray


class Part:
  """Rows whose arrays go to files of one kind.

  The number of rows in each file is fixed; their order is not.

  Args:
    total: Rows of the pool.
    flat: (total, ...) arrays of the pool, by key.
    rows: (n,) in order.
    files: Names, and the number of rows of each.
    frozen: (n, ...) arrays beside those of the pool, already copied.
  """

  def __init__(
    self,
    total: int,
    kind: str,
    flat: Mapping[str, np.ndarray],
    rows: np.ndarray,
    files: list[tuple[str, int]],
    frozen: Mapping[str, np.ndarray],
  ):
    self.kind = kind
    self.rows = rows
    self.files = deque(files)
    self.copies: deque[tuple[np.ndarray, dict[str, np.ndarray]]] = deque()
    self._flat = dict(flat)
    self._frozen = dict(frozen)
    self._cursor = 0
    self.pending = np.zeros(total, bool)
    self.pending[rows] = True
    arrays = [*self._flat.values(), *frozen.values()]
    self.row_bytes = sum(x[:1].nbytes for x in arrays if len(x))

  def copy(self, rows: np.ndarray) -> int:
    """Copies the rows still pending, to be written first; returns bytes."""
    rows = np.unique(rows[self.pending[rows]])
    if rows.size:
      self.copies.append((rows, self._gather(rows)))
      self.pending[rows] = False
    return rows.size * self.row_bytes

  def take(self, most: int) -> tuple[np.ndarray, dict[str, np.ndarray], int]:
    """Takes at most so many rows.

    Returns:
      Rows (m,), their arrays (m, ...), and the bytes of copies that they free.
    """
    if self.copies:
      rows, arrays = self.copies.popleft()
      if len(rows) > most:
        later = {key: value[most:] for key, value in arrays.items()}
        self.copies.appendleft((rows[most:], later))
        arrays = {key: value[:most] for key, value in arrays.items()}
        rows = rows[:most]
      return rows, arrays, len(rows) * self.row_bytes
    rows = self.rows[self._cursor : self._cursor + most]
    self._cursor += len(rows)
    rows = rows[self.pending[rows]]
    self.pending[rows] = False
    return rows, self._gather(rows), 0

  def empty(self, count: int) -> dict[str, np.ndarray]:
    arrays = self._flat | self._frozen
    return {
      key: np.empty((count, *array.shape[1:]), array.dtype)
      for key, array in arrays.items()
    }

  def _gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
    # (rows, ...) at (m,) -> (m, ...)
    arrays = {key: flat.take(rows, axis=0) for key, flat in self._flat.items()}
    if self._frozen:
      # (n, ...) at (m,) -> (m, ...)
      place = self.rows.searchsorted(rows)
      arrays |= {key: x[place] for key, x in self._frozen.items()}
    return arrays


class Writing:
  """Files being written by a thread, of steps as they were at the start.

  Before training overwrites a row it calls `preserve`, which copies the row if
  it is not written yet. Copies are written first; when `limit` bytes of them
  wait, training waits.

  Args:
    write: Called with name, kind, rows, ids and arrays of each file.
  """

  def __init__(
    self,
    pool: ChunkPool,
    parts: list[Part],
    write: Callable[..., None],
    limit: float,
  ):
    self._chunk_size = pool.chunk_size
    self._ids = pool.ids.copy()
    self.parts = parts
    self.files: list[File] = []
    self._write = write
    self._limit = limit
    self._bytes = 0
    self._lock = threading.Condition()
    self._future: Future | None = None
    self._stopped = self._warned = False
    self.waited = 0.0  # Seconds.

  def start(self, threads: ThreadPoolExecutor) -> None:
    self._future = threads.submit(self._run)

  def stop(self) -> None:
    """Ends it after the file in progress."""
    self._stopped = True

  @property
  def done(self) -> bool:
    return self._future.done()

  @property
  def failed(self) -> bool:
    return self.done and self._future.exception() is not None

  def wait(self) -> None:
    """Waits for the end.

    Raises:
      OSError: A file could not be written.
    """
    self._future.result()

  def preserve(self, kinds: tuple[str, ...], rows: np.ndarray) -> None:
    """Copies some rows that are not written yet, as they are now."""
    with self._lock:
      if self.done:
        return
      for part in self.parts:
        if part.kind in kinds:
          self._bytes += part.copy(rows)
      if self._bytes >= self._limit:
        self._wait_for_room()

  def unwritten(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Kinds, rows and chunk numbers that are in no file, once it is done."""
    for part in self.parts:
      stored = np.zeros(len(part.pending), bool)
      for file in self.files:
        if file.kind == part.kind:
          stored[file.rows] = True
      rows = part.rows[~stored[part.rows]]
      yield part.kind, rows, self._ids[rows // self._chunk_size]

  def _wait_for_room(self) -> None:
    if not self._warned:
      self._warned = True
      logging.warning(
        'replay: training waits for a save: %.2f GiB wait to be written '
        '(config.replay.chunked.save_waiting).',
        self._bytes / 2**30,
      )
    start = time.monotonic()
    room = lambda: self._bytes < self._limit or self._stopped
    self._lock.wait_for(room)
    self.waited += time.monotonic() - start

  def _run(self) -> None:
    try:
      while not self._stopped and (part := self._next()):
        name, count = part.files.popleft()
        rows, arrays = self._fill(part, count)
        idents = self._ids[rows // self._chunk_size]
        self._write(name, part.kind, rows, idents, arrays)
        self.files.append(File(name, part.kind, rows, idents))
    finally:
      with self._lock:
        self._stopped = True
        self._lock.notify_all()

  def _next(self) -> Part | None:
    """Finds a part with files to write, the one with most copies first."""
    with self._lock:
      parts = [part for part in self.parts if part.files]
      return max(parts, key=lambda part: len(part.copies), default=None)

  def _fill(
    self, part: Part, count: int
  ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    piece = max(1, _PIECE // max(1, part.row_bytes))
    rows, arrays, filled = np.empty(count, np.int64), part.empty(count), 0
    while filled < count:
      with self._lock:
        some, values, freed = part.take(min(piece, count - filled))
        place = slice(filled, filled + len(some))
        filled = place.stop
        self._bytes -= freed
        if freed:
          self._lock.notify_all()
      rows[place] = some
      for key, value in values.items():
        arrays[key][place] = value
    return rows, arrays
