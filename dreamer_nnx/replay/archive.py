"""Keeps the pool's chunks in a directory and brings them back."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dreamer_nnx.replay import chunkfile, sharing
from dreamer_nnx.replay.chunks import ChunkPool
from dreamer_nnx.replay.disk import ChunkDirectory

_PRIORITY = 'priority'


class Archive:
  """Files of the chunks in a pool.

  A chunk is two files: `data`, written when the chunk fills or is saved half
  full, and `side`, what training changes later (latents and priorities), of
  which a save writes another one where it did change.

  Args:
    powers: (chunks, chunk_size) step priorities, None where there are none.
    save_latents: Whether latents that training changed are written again.
  """

  def __init__(
    self,
    pool: ChunkPool,
    directory: ChunkDirectory,
    powers: np.ndarray | None,
    save_latents: bool,
  ):
    self._pool = pool
    self._directory = directory
    self._powers = powers
    self._save_latents = save_latents
    self._latents = [k for k in pool.arrays if k.startswith('latent/')]
    self._sided = bool(self._latents) or powers is not None
    self._expect = {
      key: chunkfile.describe(array.shape[2:], array.dtype)
      for key, array in pool.arrays.items()
    }
    self._data: list[str | None] = [None] * pool.num_chunks
    self._side: list[str | None] = [None] * pool.num_chunks
    self._stored = np.zeros(pool.num_chunks, np.int64)  # Steps in the files.
    self._changed = np.zeros(pool.num_chunks, bool)  # Since `side`.
    pool.next_id = directory.next_id()

  def touch(self, slots: np.ndarray) -> None:
    """Notes that latents or priorities in some slots have changed."""
    self._changed[slots] = self._save_latents

  def forget(self, slots: slice) -> None:
    """Retires the files of slots about to be recycled."""
    for names in (self._data, self._side):
      self._directory.retire(names[slots])
      names[slots] = [None] * (slots.stop - slots.start)
    self._stored[slots] = 0
    self._changed[slots] = False

  def store(self, slots: Iterable[int]) -> None:
    """Starts to write what is not in files yet."""
    lengths = self._pool.lengths
    for slot in slots:
      grown = lengths[slot] != self._stored[slot]
      if grown or not self._data[slot]:
        self._write(slot, 'data', self._data)
      changed = grown or self._changed[slot] or not self._side[slot]
      if self._sided and changed:
        self._write(slot, 'side', self._side)
      self._stored[slot] = lengths[slot]
      self._changed[slot] = False

  def join(self) -> None:
    """Waits for all writes.

    Raises:
      OSError: A file could not be written. Its chunk counts as not stored, so
        a later save tries again.
    """
    failed = self._directory.join()
    if not failed:
      return
    for slot, name in enumerate(self._data):
      # The chunk after it has stored a name that will never be.
      if name in failed and self._pool.next_slot[slot] >= 0:
        self._data[self._pool.next_slot[slot]] = None
    for names in (self._data, self._side):
      names[:] = [None if name in failed else name for name in names]
    name, error = next(iter(failed.items()))
    raise OSError(
      error.errno,
      f'replay directory {self._directory.path}: {len(failed)} chunk files '
      f'could not be written, {name} first ({error.strerror}). Free or move '
      'the workdir, then run the same command again',
    ) from error

  def save(self) -> dict[str, Any]:
    """Writes everything unsaved; returns the JSON-able list of files."""
    self._pool.sync()
    slots = np.flatnonzero(self._pool.lengths[:-1])
    slots = slots[self._pool.ids[slots].argsort()].tolist()
    self.join()
    self.store(slots)
    self.join()
    chunks = [
      [slot, int(self._pool.ids[slot]), self._data[slot], self._side[slot]]
      for slot in slots
    ]
    return {'chunks': chunks, **self._directory.close_index()}

  def load(
    self, index: Mapping[str, Any] | None, same: bool, unused: Iterable[str]
  ) -> None:
    """Fills a cleared pool with what an index names, or all there is.

    Args:
      same: Whether chunks go back to their slots. Otherwise the newest that
        fit are laid out by age.
      unused: Files to retire, beside those of chunks that do not fit.
    """
    self.join()
    count = self._pool.num_chunks
    self._data, self._side = [None] * count, [None] * count
    self._stored[:] = 0
    self._changed[:] = False
    self._directory.clean()
    if index is None:
      self._load_all()
    else:
      self._load_index(index, same, unused)

  def require_whole(self) -> None:
    """ValueError where files were skipped, by name and reason."""
    skipped = self._directory.skipped
    if skipped:
      files = '; '.join(f'{k}: {v}' for k, v in sorted(skipped.items())[:5])
      raise ValueError(
        f'config.replay: {len(skipped)} files of the checkpoint cannot be read '
        f'back from {self._directory.path} ({files}). Put them back, or go on '
        'without them by --config.replay.chunked.skip_damaged=true.'
      )

  def stats(self) -> dict[str, int]:
    return {
      'skipped_files': len(self._directory.skipped),
      'written_bytes': self._directory.written_bytes,
    }

  def _load_index(
    self, index: Mapping[str, Any], same: bool, unused: Iterable[str]
  ) -> None:
    chunks = sorted(index['chunks'], key=lambda chunk: sharing.age(chunk[1]))
    if not same:
      chunks = chunks[-self._pool.num_chunks :]
    loaded = {}
    for place, (slot, _, data, side) in enumerate(chunks):
      slot = slot if same else place
      before = self._load(slot, [data], [side])
      if before is not None:
        loaded[slot] = before
    self._link(loaded)
    left = sharing.files(index) - self._used()
    self._directory.open_index(index, [*unused, *left])

  def _load_all(self) -> None:
    for name in self._directory.strangers():
      self._directory.skip(name, 'not a chunk file')
    files: dict[int, dict[str, list[str]]] = {}
    for name in sorted(self._directory.names(), key=lambda n: -n.serial):
      kinds = files.setdefault(name.chunk, {'data': [], 'side': []})
      kinds[name.kind].append(self._directory.text(name))
    loaded, slot = {}, min(len(files), self._pool.num_chunks) - 1
    for ident in sorted(files, reverse=True):
      if slot < 0:
        break
      before = self._load(slot, files[ident]['data'], files[ident]['side'])
      if before is not None:
        loaded[slot] = before
        slot -= 1
    self._link(loaded)
    names = map(self._directory.text, self._directory.names())
    self._directory.open_index({}, [x for x in names if x not in self._used()])

  def _write(self, slot: int, kind: str, names: list[str | None]) -> None:
    pool, length = self._pool, int(self._pool.lengths[slot])
    arrays = {
      key: array[slot, :length]
      for key, array in pool.arrays.items()
      if (key in self._latents) == (kind == 'side')
    }
    if kind == 'side' and self._powers is not None:
      arrays[_PRIORITY] = self._powers[slot, :length]
    before = pool.prev_slot[slot]
    meta = {
      'kind': kind,
      'id': int(pool.ids[slot]),
      'length': length,
      'chunk_size': pool.chunk_size,
      'before': self._data[before] if before >= 0 else None,
    }
    self._directory.retire([names[slot]])
    names[slot] = self._directory.write(meta['id'], kind, meta, arrays)

  def _load(
    self, slot: int, data: list[str | None], side: list[str | None]
  ) -> str | None:
    """Places the first good files; returns which chunk file came before."""
    found = self._first_good(data, 'data', 0)
    if not found:
      return None
    name, meta, arrays = found
    length = meta['length']
    found = self._first_good(side, 'side', length)
    if self._latents and not found:
      self._directory.skip(name, 'its latents are missing')
      return None
    side_name, _, extra = found or (None, {}, {})
    self._data[slot], self._side[slot] = name, side_name
    extra = {key: value[:length] for key, value in extra.items()}
    powers = extra.pop(_PRIORITY, None)
    if self._powers is not None and powers is not None:
      self._powers[slot, :length] = powers
    self._pool.place(slot, meta['id'], {**arrays, **extra})
    self._stored[slot] = length
    return meta['before'] or ''

  def _first_good(
    self, names: list[str | None], kind: str, length: int
  ) -> tuple[str, dict[str, Any], dict[str, np.ndarray]] | None:
    for name in filter(None, names):
      try:
        meta, arrays = self._directory.read(name)
        self._check(meta, kind, length)
      except chunkfile.ChunkFileError as error:
        self._directory.skip(name, str(error))
      else:
        return name, meta, arrays
    return None

  def _check(self, meta: Mapping[str, Any], kind: str, length: int) -> None:
    if meta['chunk_size'] != self._pool.chunk_size:
      raise chunkfile.ChunkFileError(
        f'foreign, of chunk_size {meta["chunk_size"]}, not '
        f'{self._pool.chunk_size}'
      )
    if meta['length'] < length:
      raise chunkfile.ChunkFileError('older than the data')
    keys = {k: v for k, v in meta['keys'].items() if k != _PRIORITY}
    expect = {
      key: value
      for key, value in self._expect.items()
      if (key in self._latents) == (kind == 'side')
    }
    for key in sorted(keys | expect):
      if keys.get(key) != expect.get(key):
        raise chunkfile.ChunkFileError(
          f"foreign, '{key}' is {_text(keys.get(key))}, not "
          f'{_text(expect.get(key))}'
        )

  def _used(self) -> set[str]:
    return {name for name in (*self._data, *self._side) if name}

  def _link(self, before: Mapping[int, str]) -> None:
    """Links the loaded chunks, by the file that each went on from."""
    pool = self._pool
    slots = {self._data[slot]: slot for slot in before}
    links = [
      (slots[name], slot)
      for slot, name in sorted(before.items())
      if name in slots and pool.lengths[slots[name]] == pool.chunk_size
    ]
    pool.relink(links)
    held = pool.ids[:-1][pool.ids[:-1] >= 0].tolist()
    pool.next_id = max(pool.next_id, self._directory.next_id(held))


def _text(description: list[Any] | None) -> str:
  if description is None:
    return 'absent'
  return f'{description[0]} {tuple(description[1])}'
