"""Stores the pool's steps in a directory, as of each save, and loads them.

Files are never changed. A save writes the steps that came since the last one
(`data`: what never changes) and the entries and columns that are new or changed
since (`side`), and nothing else; its index names the files that hold
the newest version of any step. Uses of files are not counted: after a save
those are deleted that no kept index names (`retain`).

Where the steps of a file are mostly recycled or rewritten, the others are
written again, to a new file, between saves (`compact`). So beside what other
kept checkpoints need, files take at most 1 / SPARSE times the room of the steps
themselves, and a few of less than SMALL each.
"""

import contextlib
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from absl import logging

from dreamer_nnx import versions
from dreamer_nnx.errors import UserError
from dreamer_nnx.replay import chunkfile, loading, sharing
from dreamer_nnx.replay.chunks import ChunkPool
from dreamer_nnx.replay.columns import Columns
from dreamer_nnx.replay.disk import ChunkDirectory, serial
from dreamer_nnx.replay.entries import HAS_ENTRY
from dreamer_nnx.replay.table import KINDS, Table
from dreamer_nnx.replay.writing import Part, Writing

# Bytes of a file, and of one that is small.
BLOCK = 32 << 20
SMALL = 1 << 20


class Archive:
  """Files of the steps in a pool.

  Args:
    pool: Its columns are stored, too.
    save_latents: Whether entries are stored at all.
    limit: Bytes of copies that may wait to be written.
  """

  def __init__(
    self,
    pool: ChunkPool,
    directory: ChunkDirectory,
    save_latents: bool,
    limit: float,
  ):
    rows = pool.num_chunks * pool.chunk_size
    self._pool = pool
    self._directory = directory
    entries = {k: pool.flat[k] for k in pool.latents if save_latents}
    if entries:
      entries[HAS_ENTRY] = pool.has_entry
    self._arrays = {
      'data': {k: x for k, x in pool.flat.items() if k not in pool.latents},
      'side': entries,
    }
    self._columns = Columns(pool)
    self._has_side = bool(entries or pool.columns)
    self._changed = np.zeros(rows, bool)  # To be in a side file.
    self._stored = np.zeros(pool.num_chunks, np.int64)  # Steps in data files.
    self._table = Table(rows)
    self._writing: Writing | None = None
    self._saving: Writing | None = None  # The last save, done or not.
    self._limit = limit
    self._first_serial = 0
    self._saves = 0
    self._waited = 0.0
    self._threads = ThreadPoolExecutor(1, 'replay')

  def mark_changed(self, rows: np.ndarray) -> None:
    """Notes that entries of some rows are about to change."""
    if self._arrays['side']:
      self._changed[rows] = True
      self.preserve(('side',), rows)

  def preserve(self, kinds: tuple[str, ...], rows: np.ndarray) -> None:
    """Copies some rows for a save in progress, before they are overwritten."""
    if self.busy:
      self._writing.preserve(kinds, rows)

  @property
  def busy(self) -> bool:
    """Tells whether files are being written."""
    return self._writing is not None and not self._writing.done

  def recycle(self, slots: slice) -> None:
    """Drops the records of the steps in slots about to be recycled."""
    size = self._pool.chunk_size
    rows = np.arange(slots.start * size, slots.stop * size)
    for kind in KINDS:
      self._table.release(kind, rows)
    self._stored[slots] = 0
    self._changed[rows] = False
    self._columns.note(rows)

  def save(self) -> dict[str, Any]:
    """Starts to write the steps that are in no file; returns a JSON-able index.

    The index may be used once `wait` has returned.
    """
    self._pool.sync()
    self.finish_write()
    fresh, changed = self._unsaved()
    self._stored[:] = self._pool.lengths[:-1]
    self._changed[changed] = False
    self._columns.note(changed)
    self._table.release('data', fresh)
    self._table.release('side', changed)
    names = [*self._table.used(), *self._start_write(fresh, changed)]
    self._saving = self._writing
    self._saves += 1
    return {
      'version': versions.REPLAY,
      'chunks': self._chunk_table(),
      'files': sorted(names, key=lambda name: (serial(name), name)),
      'saves': self._saves,
      'next': self._pool.next_id % sharing.RANGE,
    }

  def wait(self) -> None:
    """Waits until all that the last index names is on disk.

    Any thread may call this.

    Raises:
      OSError: A file could not be written. Its steps count as not stored, so
        a later save tries again.
    """
    if self._saving:
      self._saving.wait()

  def compact(self) -> None:
    """Starts to write the steps of mostly unused files to new ones."""
    if self.busy or (self._writing and self._writing.failed):
      return
    self.finish_write()
    data, side = (
      self._table.sparse_rows(kind, SMALL // max(1, self._row_bytes(kind)))
      for kind in KINDS
    )
    if side.size:
      side = side[~self._dirty()[side]]
    if data.size or side.size:
      self._start_write(data, side)

  def finish_write(self) -> None:
    """Waits for the files being written, and records their steps.

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
        alive = self._still_held(file.rows, file.idents)
        number = self._table.register(file.name, len(file.rows))
        self._table.assign(file.kind, file.rows[alive], number)
      for kind, rows, idents in writing.unwritten() if saving else ():
        self._mark_unstored(kind, rows[self._still_held(rows, idents)])

  def retain(self, names: Collection[str], share: int, shares: int) -> None:
    """Deletes, in the background, files neither among the names nor in use."""
    before = self._directory.next_serial
    if self._writing:
      before = self._first_serial
    keep = {*names, *self._table.used()}
    self._threads.submit(self._delete_unused, keep, before, share, shares)

  def stored_files(self) -> set[str]:
    """Names of all files, of any process."""
    return self._directory.all_names()

  def load(self, index: Mapping[str, Any], same: bool) -> None:
    """Fills a cleared pool with the steps that an index names.

    Args:
      same: Whether chunks go back to their slots. Otherwise the newest that
        fit are laid out by age.
    """
    # Steps that are replaced need not be stored.
    with contextlib.suppress(OSError):
      self.finish_write()
    pool = self._pool
    pool.clear()
    self._saving = None
    self._table = Table(pool.num_chunks * pool.chunk_size)
    self._stored[:] = 0
    self._changed[:] = False
    self._directory.skipped.clear()
    loader = loading.Loader(pool, self._directory, self._table)
    if index.get('version', 1) == 1:
      loader.load_01(index, same)
    else:
      loader.load(index, same)
      self._stored[:] = pool.lengths[:-1]
    fresh = loader.finish_entries()
    if self._arrays['side']:
      self._changed[fresh] = True
    self._columns.note(slice(None))
    self._saves = max(self._saves, index.get('saves', 0))
    pool.next_id = sharing.next_id(pool.next_id, index)

  def check(self, index: Mapping[str, Any], same: bool) -> None:
    """Skips the files that `load` would, as far as it shows without loading.

    The checksums of what is in them are not looked at.
    """
    self._directory.skipped.clear()
    loader = loading.Loader(self._pool, self._directory, self._table)
    loader.look(index, same)

  def refuse_skipped(self) -> None:
    """Refuses a checkpoint if files were skipped, with names and reasons.

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
    """Rows that no data file has, and rows that a side file has to get."""
    lengths, size = self._pool.lengths[:-1], self._pool.chunk_size
    grown = np.flatnonzero(lengths > self._stored).tolist()
    fresh = [
      np.arange(slot * size + self._stored[slot], slot * size + lengths[slot])
      for slot in grown
    ]
    fresh = np.concatenate([np.zeros(0, np.int64), *fresh])
    if not self._has_side:
      return fresh, fresh[:0]
    dirty = self._dirty()
    dirty[fresh] = True
    return fresh, np.flatnonzero(dirty)

  def _dirty(self) -> np.ndarray:
    """Flags (rows,) of entries or columns that no side file has."""
    return self._changed | self._columns.changed()

  def _chunk_table(self) -> list[list[int]]:
    """Rows of slot, number, length and number of the chunk before, by age."""
    pool = self._pool
    slots = np.flatnonzero(pool.lengths[:-1])
    slots = slots[pool.ids[slots].argsort()]
    # (n,) slots -> (n,) ids; the chunk before slot -1 is none, its id -1.
    before = pool.ids[pool.prev_slot[slots]]
    # 4 x (n,) -> (n, 4)
    table = [slots, pool.ids[slots], pool.lengths[slots], before]
    return np.stack(table, axis=1).tolist()

  def _start_write(self, *rows: np.ndarray) -> list[str]:
    """Starts to write rows of each kind; returns the names of the files."""
    parts, names = [], []
    self._first_serial = self._directory.next_serial
    for kind, kind_rows in zip(KINDS, rows, strict=True):
      if not kind_rows.size:
        continue
      each = max(1, BLOCK // max(1, self._row_bytes(kind)))
      count = kind_rows.size
      sizes = [min(each, count - i) for i in range(0, count, each)]
      new = self._directory.new_names(kind, len(sizes))
      files = list(zip(new, sizes, strict=True))
      frozen = self._columns.frozen(kind_rows) if kind == 'side' else {}
      total, flat = len(self._changed), self._arrays[kind]
      parts.append(Part(total, kind, flat, kind_rows, files, frozen))
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
    if HAS_ENTRY in arrays and arrays[HAS_ENTRY].all():
      arrays = {k: x for k, x in arrays.items() if k != HAS_ENTRY}
    meta = {'kind': kind, 'chunk_size': size}
    runs = chunkfile.runs_of(idents, rows % size)
    self._directory.write(name, meta, runs, arrays)

  def _row_bytes(self, kind: str) -> int:
    return sum(x[:1].nbytes for x in self._arrays[kind].values()) + 8

  def _still_held(self, rows: np.ndarray, idents: np.ndarray) -> np.ndarray:
    return self._pool.chunk_ids(rows) == idents

  def _mark_unstored(self, kind: str, rows: np.ndarray) -> None:
    """Notes that some rows are not stored after all."""
    if kind == 'side':
      self._changed[rows] = True
      return
    size = self._pool.chunk_size
    np.minimum.at(self._stored, rows // size, rows % size)

  def _delete_unused(self, *args: Any) -> None:
    try:
      self._directory.delete_unused(*args)
    except OSError as error:
      logging.warning('replay: %s.', error)
