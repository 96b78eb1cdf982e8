"""Draws what batches are made of: fresh sequences, then those of selectors."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamer_nnx.replay import generators
from dreamer_nnx.replay.batches import LongSample
from dreamer_nnx.replay.chunks import ChunkPool
from dreamer_nnx.replay.online import OnlineQueue
from dreamer_nnx.replay.selectors import Selectors


class Drawing:
  """Long samples (B, L), each given out in `consec` parts.

  Args:
    settings: `batch_size`, `consec`, `online` and `seed`.
  """

  def __init__(self, pool: ChunkPool, selectors: Selectors, settings: Any):
    self._pool = pool
    self._selectors = selectors
    self._count, self._consec = settings.batch_size, settings.consec
    self._queue = OnlineQueue(pool) if settings.online else None
    self._seed = settings.seed
    self._rng = np.random.Generator(np.random.PCG64(self._seed))
    self._long: LongSample | None = None

  @property
  def waiting(self) -> int:
    """Fresh sequences that wait for their turn."""
    return 0 if self._queue is None else len(self._queue)

  def step(self) -> None:
    """Takes note of a step that was added."""
    if self._queue is not None:
      self._queue.step()

  def drop_recycled(self) -> None:
    """Drops the fresh sequences that were recycled."""
    if self._queue is not None:
      self._queue.drop_recycled()

  def next_part(self) -> tuple[np.ndarray, int]:
    """Rows (B, L) of the long sample and the part of it to give out."""
    long, self._long = self._long, None
    if long is None or (self._pool.chunk_ids(long.rows) != long.ids).any():
      rows = self._draw()
      long = LongSample(rows, self._pool.chunk_ids(rows), 0)
    if long.part + 1 < self._consec:
      self._long = long._replace(part=long.part + 1)
    return self._pool.around(long.rows, 0, self._pool.length - 1), long.part

  def state(self) -> dict[str, Any]:
    """JSON-able entries of a saved index; the selectors' come first."""
    state = {'selectors': self._selectors.state()}
    state['rng'] = generators.to_json(self._rng)
    if self._queue is not None:
      state['online'] = self._queue.state()
    if self._long:
      rows, ids, part = self._long
      state['long'] = [rows.tolist(), ids.tolist(), part]
    return state

  def restore(
    self, index: Mapping[str, Any], same: bool, continues: bool
  ) -> None:
    """Restores what an index has.

    Args:
      same: Whether rows mean the same here.
      continues: Whether the workers' streams go on.
    """
    if self._queue is not None:
      online = index.get('online') if same else None
      self._queue.restore(online or {'run': 0, 'starts': []})
      if not continues:
        self._queue.run = 0
    self._long = None
    if same and index.get('long'):
      rows, ids, part = index['long']
      self._long = LongSample(np.array(rows), np.array(ids), part)
    self._selectors.restore(index.get('selectors', {}))
    if index['rng']:
      self._rng.bit_generator.state = generators.from_json(index['rng'])
    else:
      self._rng = generators.derived(self._seed, index['saves'])

  def _draw(self) -> np.ndarray:
    """Draws starts (B,), fresh ones first."""
    count, fresh = self._count, np.empty(0, np.int64)
    if self._queue is not None:
      fresh = self._queue.pop(count)
    if len(fresh) == count:
      return fresh
    rest = self._selectors.select(self._rng, count - len(fresh))
    return np.concatenate([fresh, rest])
