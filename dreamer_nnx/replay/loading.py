"""Loads stored steps into the pool."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np

from dreamer_nnx.replay import chunkfile, sharing
from dreamer_nnx.replay.chunkfile import ChunkFileError
from dreamer_nnx.replay.chunks import ChunkPool
from dreamer_nnx.replay.columns import PREFIX
from dreamer_nnx.replay.disk import ChunkDirectory, serial
from dreamer_nnx.replay.entries import HAS_ENTRY, Entries
from dreamer_nnx.replay.table import Table

# The column of priorities, as version 0.1 named it in files.
PRIORITY_01 = 'priority'
# Files that are read ahead of the one in hand.
AHEAD = 3

Read = tuple[dict[str, Any], np.ndarray, dict[str, np.ndarray]]


class Loader:
  """Fills a cleared pool and the table of files."""

  def __init__(
    self,
    pool: ChunkPool,
    directory: ChunkDirectory,
    table: Table,
  ):
    self._pool = pool
    self._directory = directory
    self._table = table
    self._expect = {
      key: chunkfile.describe(array.shape[2:], array.dtype)
      for key, array in pool.arrays.items()
      if key not in pool.latents
    }
    self._entries = Entries(pool)

  def load(self, index: Mapping[str, Any], same: bool) -> None:
    """Loads the steps that an index names."""
    places, before = {}, {}
    for slot, (_, ident, length, previous) in self._assign_slots(index, same):
      self._pool.reserve(slot)
      places[ident] = slot, min(length, self._pool.chunk_size)
      before[slot] = previous
    idents = np.array(sorted(places), np.int64)
    # (c, 2), also where there are none.
    table = np.array([places[x] for x in idents.tolist()], np.int64)
    table = table.reshape(-1, 2)
    names = sorted(sharing.files(index), key=lambda name: (serial(name), name))
    self._directory.number_after(names)
    for name, found in self._read(names, self._read_file):
      rows, wanted = self._locate(found[1], idents, table)
      if rows.size:
        self._store(name, found, rows, wanted)
    for slot, length in places.values():
      self._set_length(slot, length)
    self._pool.ids[table[:, 0]] = idents
    self._link(before)

  def load_01(self, index: Mapping[str, Any], same: bool) -> None:
    """Loads the steps that an index of version 0.1 names, without the table."""
    before = {}
    names = sharing.files(index)
    self._directory.number_after(names)
    for slot, (_, ident, data, side) in self._assign_slots(index, same):
      found = next(self._read([data], self._read_file), None)
      if found is None:
        continue
      self._pool.reserve(slot)
      meta, _, arrays = found[1]
      rows = slot * self._pool.chunk_size + np.arange(meta['length'])
      self._fill(meta, arrays, rows, slice(None))
      self._pool.ids[slot] = ident
      self._pool.lengths[slot] = meta['length']
      before[slot] = _chunk_01(meta['before'])
      self._load_side_01(side, rows)
    self._link(before)

  def look(self, index: Mapping[str, Any], same: bool) -> None:
    """Skips what `load`, or `load_01`, would, by size and description."""
    names = sharing.files(index)
    if index.get('version', 1) == 1:
      chunks = [chunk for _, chunk in self._assign_slots(index, same)]
      # Those of entries may be absent.
      there = self._directory.all_names()
      names = {data for _, _, data, _ in chunks}
      names |= {side for *_, side in chunks if side in there}
    for _ in self._read(sorted(names), self._look_at):
      pass

  def finish_entries(self) -> np.ndarray:
    """Completes the entries; see `Entries.finish`."""
    pool = self._pool
    # (chunk_size,) < (chunks, 1) -> (chunks, chunk_size) -> (rows,)
    held = np.arange(pool.chunk_size) < pool.lengths[:-1, None]
    return self._entries.finish(held.reshape(-1))

  def _assign_slots(
    self, index: Mapping[str, Any], same: bool
  ) -> Iterator[tuple[int, Sequence[Any]]]:
    """Pairs of a slot and the chunk that goes there."""
    chunks = sorted(index['chunks'], key=lambda chunk: sharing.age(chunk[1]))
    if not same:
      chunks = chunks[-self._pool.num_chunks :]
    for place, chunk in enumerate(chunks):
      yield (chunk[0] if same else place), chunk

  def _read(
    self, names: Iterable[str], read: Callable[[str], Any]
  ) -> Iterator[tuple[str, Any]]:
    """Reads files, in order, ahead of their use; skips damaged ones."""
    names = iter(names)
    with ThreadPoolExecutor(AHEAD) as threads:
      submit = lambda name: (name, threads.submit(read, name))
      ahead = [submit(x) for x in islice(names, AHEAD)]
      while ahead:
        name, future = ahead.pop(0)
        ahead += [submit(x) for x in islice(names, 1)]
        try:
          yield name, future.result()
        except ChunkFileError as error:
          self._directory.skip(name, str(error))

  def _read_file(self, name: str) -> Read:
    return self._directory.read(name, self._check)

  def _look_at(self, name: str) -> None:
    self._directory.look(name, self._check)

  def _check(self, meta: Mapping[str, Any]) -> None:
    if meta['chunk_size'] != self._pool.chunk_size:
      raise ChunkFileError(
        f'foreign, of chunk_size {meta["chunk_size"]}, not '
        f'{self._pool.chunk_size}'
      )
    keys, expect = meta['keys'], self._expect
    if meta['kind'] == 'side':
      # Of entries and columns, what fits is used.
      keys = {k: v for k, v in keys.items() if k == HAS_ENTRY}
      expect = dict.fromkeys(keys, chunkfile.describe((), bool))
    for key in sorted(keys | expect):
      if keys.get(key) != expect.get(key):
        raise ChunkFileError(
          f"foreign, '{key}' is {_describe(keys.get(key))}, not "
          f'{_describe(expect.get(key))}'
        )

  def _locate(
    self, runs: np.ndarray, idents: np.ndarray, table: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Finds the rows of the pool for the steps of a file.

    Args:
      runs: (r, 3) of the file.
      idents: (c,) numbers of the chunks wanted, in order.
      table: (c, 2) slot and length of each.

    Returns:
      (n,) rows, and (n,) places of their steps in the file.
    """
    count = runs[:, 2]
    start = np.cumsum(count) - count
    which = np.minimum(idents.searchsorted(runs[:, 0]), max(0, len(idents) - 1))
    known = np.zeros(len(runs), bool)
    if len(idents):
      known = idents[which] == runs[:, 0]
    runs, which, start = runs[known], which[known], start[known]
    # (r,) -> (n,): the run of each step, and its place in that run.
    run = np.repeat(np.arange(len(runs)), runs[:, 2])
    step = np.arange(len(run)) - (np.cumsum(runs[:, 2]) - runs[:, 2])[run]
    # (c, 2) -> (r, 2) -> (n, 2) -> 2 x (n,)
    slot, length = table[which][run].T if len(run) else (step, step)
    offset = runs[run, 1] + step
    held = (offset >= 0) & (offset < length)
    rows = slot * self._pool.chunk_size + offset
    return rows[held], (start[run] + step)[held]

  def _store(
    self, name: str, found: Read, rows: np.ndarray, wanted: np.ndarray
  ) -> None:
    meta, _, arrays = found
    self._fill(meta, arrays, rows, wanted)
    number = self._table.register(name, meta['length'])
    self._table.assign(meta['kind'], rows, number)

  def _fill(
    self,
    meta: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    rows: np.ndarray,
    wanted: Any,
  ) -> None:
    if meta['kind'] == 'data':
      for key, value in arrays.items():
        self._pool.flat[key][rows] = value[wanted]
      return
    self._entries.put(arrays, rows, wanted)
    if PRIORITY_01 in arrays:
      arrays = {PREFIX + PRIORITY_01: arrays[PRIORITY_01], **arrays}
    for name, column in self._pool.columns.items():
      value = arrays.get(PREFIX + name, np.zeros((0, 0)))
      if value.ndim == 1 and np.can_cast(value.dtype, column.dtype):
        # (rows,), written at (n,)
        column[rows] = value[wanted]

  def _set_length(self, slot: int, length: int) -> None:
    """Sets a chunk's length to its steps up to the first that no file had."""
    size = self._pool.chunk_size
    rows = np.arange(slot * size, slot * size + length)
    missing = np.flatnonzero(self._table.of['data'][rows] < 0)
    if missing.size:
      length = int(missing[0])
      for kind in ('data', 'side'):
        self._table.release(kind, rows[length:])
    self._pool.lengths[slot] = length

  def _load_side_01(self, name: str | None, rows: np.ndarray) -> None:
    """Loads entries and priorities of one chunk, if they were stored."""
    if not name:
      return
    try:
      meta, _, arrays = self._read_file(name)
    except ChunkFileError as error:
      if str(error) != 'missing':
        self._directory.skip(name, str(error))
      return
    rows = rows[: meta['length']]
    self._fill(meta, arrays, rows, slice(len(rows)))

  def _link(self, before: Mapping[int, int]) -> None:
    """Links the loaded chunks, by the chunk that each went on from."""
    pool = self._pool
    empty = np.flatnonzero(pool.lengths[:-1] == 0)
    pool.ids[empty] = -1
    held = np.flatnonzero(pool.lengths[:-1]).tolist()
    slots = {int(pool.ids[slot]): slot for slot in held}
    links = [
      (slots[before[slot]], slot)
      for slot in held
      if before[slot] in slots
      and pool.lengths[slots[before[slot]]] == pool.chunk_size
    ]
    pool.relink(links)


def _chunk_01(name: str | None) -> int:
  """Number of the chunk in a file of version 0.1."""
  return int(name.rpartition('/')[2].partition('-')[0]) if name else -1


def _describe(description: list[Any] | None) -> str:
  if description is None:
    return 'absent'
  return f'{description[0]} {tuple(description[1])}'
