"""The queue of fresh sequences, each to be trained on once."""

from collections import deque

import numpy as np

from dreamer_nnx.replay.chunks import ChunkPool


class OnlineQueue:
  """Queue that gets, every `length` steps, the last `length` of each worker.

  Oldest first; sequences that were recycled before their turn drop out.
  """

  def __init__(self, pool: ChunkPool):
    self._pool = pool
    self._starts: deque[tuple[int, int]] = deque()  # Row and chunk id.
    self.run = 0  # Steps since the streams began or were broken.

  def __len__(self) -> int:
    return len(self._starts)

  def step(self) -> None:
    """Queues the sequences that the step just added has completed."""
    self.run += 1
    if self.run % self._pool.length == 0:
      self._complete()

  def drop_recycled(self) -> None:
    while self._starts and not self._alive(*self._starts[0]):
      self._starts.popleft()

  def pop(self, count: int) -> np.ndarray:
    """Removes and returns the oldest starts, at most (count,)."""
    rows = []
    while self._starts and len(rows) < count:
      row, ident = self._starts.popleft()
      if self._alive(row, ident):
        rows.append(row)
    return np.array(rows, np.int64)

  def state(self) -> dict:
    return {'run': self.run, 'starts': [list(x) for x in self._starts]}

  def restore(self, state: dict) -> None:
    """Restores a saved queue, without the chunks that are gone."""
    starts = (tuple(x) for x in state['starts'])
    self._starts = deque(x for x in starts if self._alive(*x))
    self.run = state['run']

  def _alive(self, row: int, ident: int) -> bool:
    return bool(self._pool.ids[row // self._pool.chunk_size] == ident)

  def _complete(self) -> None:
    pool = self._pool
    pool.sync()
    slots = pool.slots(pool.newest)
    last = np.arange(slots.start, slots.stop) * pool.chunk_size
    # (W,) -> (W, length) -> (W,)
    rows = pool.around(last + pool.offset - 1, pool.length - 1, 0)[:, 0]
    rows = rows[rows >= 0]
    idents = pool.chunk_ids(rows).tolist()
    self._starts.extend(zip(rows.tolist(), idents, strict=True))
