"""Keeps the pool's steps in a directory, as of each save, and brings them back.

Files are never changed. A save writes the steps that came since the last one
(`data`: what never changes) and the latents and priorities that are new or
changed since (`side`), and nothing else; its index names the files that hold
the newest version of any step. Nobody counts which files are in use: after a
save those go that no kept index names (`retain`).

Of a file whose steps are mostly recycled or rewritten, the rest is written anew
between saves (`tidy`). So beside what other kept checkpoints hold, files take
at most 1 / SPARSE times the room of the steps themselves, and a few of less
than SMALL each.
"""

import contextlib
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from absl import logging

from dreamer_nnx.errors import UserError
from dreamer_nnx.replay import chunkfile, loading, sharing
from dreamer_nnx.replay.chunks import ChunkPool
from dreamer_nnx.replay.disk import ChunkDirectory, serial
from dreamer_nnx.replay.table import KINDS, Table
from dreamer_nnx.replay.writing import Part, Writing

PRIORITY = loading.PRIORITY
# Bytes of a file, and of one that is small.
BLOCK = 32 << 20
SMALL = 1 << 20


class Archive:
  """Files of the steps in a pool.

  Args:
    powers: (chunks, chunk_size) step priorities, None where there are none.
    touched: (rows,) which of them changed; set by who changes them.
    save_latents: Whether latents are stored at all.
    limit: Bytes of copies that may wait to be written.
  """

  def __init__(
    self,
    pool: ChunkPool,
    directory: ChunkDirectory,
    powers: np.ndarray | None,
    touched: np.ndarray | None,
    save_latents: bool,
    limit: float,
  ):
    rows = pool.num_chunks * pool.chunk_size
    self._pool = pool
    self._directory = directory
    self._powers = powers
    self._touched = touched
    latents = [k for k in pool.arrays if k.startswith('latent/')]
    self._keys = {
      'data': [k for k in pool.arrays if k not in latents],
      'side': latents if save_latents else [],
    }
    self._sided = bool(self._keys['side']) or powers is not None
    self._changed = np.zeros(rows, bool)
    self._stored = np.zeros(pool.num_chunks, np.int64)  # Steps in data files.
    self._table = Table(rows)
    self._writing: Writing | None = None
    self._saving: Writing | None = None  # The last save, done or not.
    self._limit = limit
    self._first = 0
    self._saves = 0
    self._waited = 0.0
    self._threads = ThreadPoolExecutor(1, 'replay')

  def touch(self, rows: np.ndarray) -> None:
    """To be called before latents of some rows change."""
    if self._keys['side']:
      self._changed[rows] = True
      self.protect(('side',), rows)

  def protect(self, kinds: tuple[str, ...], rows: np.ndarray) -> None:
    """To be called before some rows are overwritten."""
    if self.busy:
      self._writing.protect(kinds, rows)

  @property
  def busy(self) -> bool:
    """Whether files are being written."""
    return self._writing is not None and not self._writing.done

  def forget(self, slots: slice) -> None:
    """Lets go of the steps in slots about to be recycled."""
    size = self._pool.chunk_size
    rows = np.arange(slots.start * size, slots.stop * size)
    for kind in KINDS:
      self._table.release(kind, rows)
    self._stored[slots] = 0
    self._changed[rows] = False
    if self._touched is not None:
      self._touched[rows] = False

  def save(self) -> dict[str, Any]:
    """Starts to write what is in no file; returns the JSON-able index.

    The index may be used once `wait` has returned.
    """
    self._pool.sync()
    self.end()
    fresh, changed = self._unsaved()
    self._stored[:] = self._pool.lengths[:-1]
    self._changed[changed] = False
    if self._touched is not None:
      self._touched[changed] = False
    self._table.release('data', fresh)
    self._table.release('side', changed)
    names = [*self._table.used(), *self._start(fresh, changed)]
    self._saving = self._writing
    self._saves += 1
    return {
      'version': 2,
      'chunks': self._chunks(),
      'files': sorted(names, key=lambda name: (serial(name), name)),
      'saves': self._saves,
      'next': self._pool.next_id % sharing.RANGE,
    }

  def wait(self) -> None:
    """Waits until all that the last index names is on disk.

    Any thread may call this.

    Raises:
      OSError: A file could not be written. What should be in it counts as not
        stored, so a later save tries again.
    """
    if self._saving:
      self._saving.wait()

  def tidy(self) -> None:
    """Starts to write anew what is left in files that hold little."""
    if self.busy or (self._writing and self._writing.failed):
      return
    self.end()
    data, side = (
      self._table.worn(kind, SMALL // max(1, self._row_bytes(kind)))
      for kind in KINDS
    )
    side = side[~self._dirty()[side]]
    if data.size or side.size:
      self._start(data, side)

  def end(self) -> None:
    """Waits for what is being written, and takes note of it.

    Raises:
      OSError: As `wait`.
    """
    writing, self._writing = self._writing, None
    if writing is None:
      return
    saving = writing is self._saving
    if not saving:
      writing.stop()
    start = time.monotonic()
    try:
      writing.wait()
    finally:
      self._waited += writing.waited + time.monotonic() - start
      for file in writing.files:
        alive = self._alive(file.rows, file.idents)
        number = self._table.open(file.name, len(file.rows))
        self._table.assign(file.kind, file.rows[alive], number)
      for kind, rows, idents in writing.rest() if saving else ():
        self._miss(kind, rows[self._alive(rows, idents)])

  def retain(self, names: Collection[str], share: int, shares: int) -> None:
    """Deletes, behind training, what is neither among names nor in use."""
    before = self._directory.next_serial
    if self._writing:
      before = self._first
    keep = {*names, *self._table.used()}
    self._threads.submit(self._sweep, keep, before, share, shares)

  def stored(self) -> set[str]:
    """Names of all files, of any process."""
    return self._directory.all_names()

  def load(self, index: Mapping[str, Any], same: bool) -> None:
    """Fills a cleared pool with what an index names.

    Args:
      same: Whether chunks go back to their slots. Otherwise the newest that
        fit are laid out by age.
    """
    with contextlib.suppress(OSError):  # What is replaced need not be stored.
      self.end()
    pool = self._pool
    pool.clear()
    self._saving = None
    self._table = Table(pool.num_chunks * pool.chunk_size)
    self._stored[:] = 0
    self._changed[:] = False
    if self._touched is not None:
      self._touched[:] = False
    self._directory.skipped.clear()
    self._directory.clean()
    loader = loading.Loader(pool, self._directory, self._powers, self._table)
    if index.get('version', 1) == 1:
      loader.load_01(index, same)
    else:
      loader.load(index, same)
      self._stored[:] = pool.lengths[:-1]
    fresh = loader.anew()
    if self._keys['side']:
      self._changed[fresh] = True
    self._saves = max(self._saves, index.get('saves', 0))
    pool.next_id = sharing.next_id(pool.next_id, index)

  def require_whole(self) -> None:
    """Refuses a checkpoint of which files were skipped, by name and reason.

    Raises:
      UserError: There are such files.
    """
    skipped = self._directory.skipped
    if skipped:
      files = '; '.join(f'{k}: {v}' for k, v in sorted(skipped.items())[:5])
      raise UserError(
        f'{len(skipped)} files of the checkpoint cannot be read back from '
        f'{self._directory.path} ({files}). Put them back, or go on without '
        'them by --config.replay.chunked.skip_damaged=true.',
        'config.replay',
      )

  def stats(self) -> dict[str, float]:
    """Files skipped, bytes written, and seconds waited since the last call."""
    waited, self._waited = self._waited, 0.0
    return {
      'skipped_files': len(self._directory.skipped),
      'written_bytes': self._directory.written_bytes,
      'save_waited': waited,
    }

  def _unsaved(self) -> tuple[np.ndarray, np.ndarray]:
    """Rows that no data file has, and those that side files have to get."""
    lengths, size = self._pool.lengths[:-1], self._pool.chunk_size
    grown = np.flatnonzero(lengths > self._stored).tolist()
    fresh = [
      np.arange(slot * size + self._stored[slot], slot * size + lengths[slot])
      for slot in grown
    ]
    fresh = np.concatenate([np.zeros(0, np.int64), *fresh])
    if not self._sided:
      return fresh, fresh[:0]
    dirty = self._dirty().copy()
    dirty[fresh] = True
    return fresh, np.flatnonzero(dirty)

  def _dirty(self) -> np.ndarray:
    """Which rows have latents or priorities that no side file has."""
    if self._touched is None:
      return self._changed
    return self._changed | self._touched

  def _chunks(self) -> list[list[int]]:
    """Slot, number, length and number of the chunk before of each, by age."""
    pool = self._pool
    slots = np.flatnonzero(pool.lengths[:-1])
    slots = slots[pool.ids[slots].argsort()]
    # The chunk before slot -1 is none: its number is -1.
    before = pool.ids[pool.prev_slot[slots]]
    table = [slots, pool.ids[slots], pool.lengths[slots], before]
    return np.stack(table, axis=1).tolist()

  def _start(self, *rows: np.ndarray) -> list[str]:
    """Starts to write rows of each kind; returns the names of the files."""
    parts, names = [], []
    self._first = self._directory.next_serial
    for kind, mine in zip(KINDS, rows, strict=True):
      if not mine.size:
        continue
      each = max(1, BLOCK // max(1, self._row_bytes(kind)))
      sizes = [min(each, mine.size - i) for i in range(0, mine.size, each)]
      new = self._directory.new_names(kind, len(sizes))
      files = list(zip(new, sizes, strict=True))
      frozen = {}
      if kind == 'side' and self._powers is not None:
        frozen = {PRIORITY: self._powers.reshape(-1)[mine]}
      keys = self._keys[kind]
      parts.append(Part(self._pool, kind, keys, mine, files, frozen))
      names += new
    self._writing = Writing(self._pool, parts, self._write, self._limit)
    self._writing.start(self._threads)
    return names

  def _write(
    self,
    name: str,
    kind: str,
    rows: np.ndarray,
    idents: np.ndarray,
    arrays: Mapping[str, np.ndarray],
  ) -> None:
    size = self._pool.chunk_size
    meta = {'kind': kind, 'chunk_size': size}
    runs = chunkfile.runs_of(idents, rows % size)
    self._directory.write(name, meta, runs, arrays)

  def _row_bytes(self, kind: str) -> int:
    flat = self._pool.flat
    return sum(flat[key][:1].nbytes for key in self._keys[kind]) + 8

  def _alive(self, rows: np.ndarray, idents: np.ndarray) -> np.ndarray:
    return self._pool.owners(rows) == idents

  def _miss(self, kind: str, rows: np.ndarray) -> None:
    """Notes that some rows are not stored after all."""
    if kind == 'side':
      self._changed[rows] = True
      return
    size = self._pool.chunk_size
    np.minimum.at(self._stored, rows // size, rows % size)

  def _sweep(self, *args: Any) -> None:
    try:
      self._directory.sweep(*args)
    except OSError as error:
      logging.warning('replay: %s.', error)
