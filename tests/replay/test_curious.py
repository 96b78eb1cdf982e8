"""The selector by visits and losses: weights, and steps that are new."""

from types import SimpleNamespace

import numpy as np

from dreamer_nnx.replay.chunks import ChunkPool
from dreamer_nnx.replay.curious import LOSS, VISITS, Curious

WORKERS, CONTEXT, LENGTH = 2, 1, 3
space = lambda dtype: SimpleNamespace(shape=(), dtype=np.dtype(dtype))
SPACES = {
  'count': space('int32'),
  'is_first': space(bool),
  'is_last': space(bool),
}


def step(time):
  """A step of every worker; worker w counts from 1000 w."""
  never = np.zeros(WORKERS, bool)
  count = (1000 * np.arange(WORKERS) + time).astype(np.int32)
  return {'count': count, 'is_first': never, 'is_last': never}


def made(**fields):
  """A selector of a pool of 40 rows, which are all filled twice."""
  pool = ChunkPool(SPACES, WORKERS, 4, 5, CONTEXT + LENGTH)
  selector = Curious(pool, CONTEXT, **fields)
  pool.add_columns(selector.columns)
  for time in range(40):
    if pool.offset == pool.chunk_size:
      pool.advance()
    pool.add(step(time))
  pool.sync()
  rows = np.arange(pool.num_chunks * pool.chunk_size)
  return pool, selector, rows[pool.is_start(rows)]


def frequencies(selector, starts, draws=40_000):
  """Frequencies of the starts, drawn by weights that do not change by it."""
  rows = selector.weights.draw(np.random.default_rng(0), draws)
  assert np.isin(rows, starts).all()
  return (rows[:, None] == starts).mean(0)


def test_weights_equal_the_formula():
  pool, selector, starts = made(visit_scale=3.0, initial=5.0)
  rng = np.random.default_rng(1)
  selector.select(rng, 30)
  selector.weights.refresh()
  rows, alive = windows(pool, starts)
  selector.update(rows, alive, {'model': rng.normal(0, 10, rows.shape)})
  first = pool.around(starts, 0, CONTEXT)[:, -1]
  visits, held = pool.columns[VISITS][first], pool.columns[LOSS][first]
  assert visits.sum() == 30 and (visits == 0).any() and (visits > 1).any()
  expected = 3 * 0.7**visits + (np.abs(held) + 0.01) ** 0.7
  expected = np.where(visits, expected, 5.0)
  found = frequencies(selector, starts)
  np.testing.assert_allclose(found, expected / expected.sum(), atol=0.008)
  assert expected.max() > 2 * expected.min()


def windows(pool, starts):
  """Rows (n, T) that are trained on, and that all are alive."""
  rows = pool.around(starts, 0, CONTEXT + LENGTH - 1)[:, CONTEXT:]
  return rows, np.ones(rows.shape, bool)


def test_an_untouched_window_overtakes_one_visited_often():
  pool, selector, starts = made(initial=1.0)
  rng, touched = np.random.default_rng(0), starts[3]
  first = pool.around(starts, 0, CONTEXT)[:, -1]
  # All were trained on once, all to the same loss.
  pool.columns[VISITS][first], pool.columns[LOSS][:] = 1, 2
  selector.weights.changed(first)
  even = frequencies(selector, starts)
  assert even.max() < 2 * even.min()
  while pool.columns[VISITS][first[3]] < 12:
    selector.select(rng, 1)
    others = first[first != first[3]]
    pool.columns[VISITS][others] = 1
    selector.weights.changed(others)
  found = dict(zip(starts, frequencies(selector, starts), strict=True))
  assert found[touched] < 0.2 * min(x for s, x in found.items() if s != touched)


def test_recycled_rows_are_new():
  pool, selector, starts = made()
  selector.select(np.random.default_rng(0), 200)
  rows, alive = windows(pool, starts)
  selector.update(rows, alive, {'model': np.full(rows.shape, 3.0)})
  first = pool.around(starts, 0, CONTEXT)[:, -1]
  assert pool.columns[VISITS][first].any() and pool.columns[LOSS][first].all()
  recycled = slice(*(x * pool.chunk_size for x in indices(pool)))
  pool.advance()
  assert not pool.columns[VISITS][recycled].any()
  assert not pool.columns[LOSS][recycled].any()
  # Filled again, they come before all others.
  for time in range(40, 45):
    pool.add(step(time))
  pool.sync()
  drawn = selector.select(np.random.default_rng(1), 300)
  trained = pool.around(drawn, 0, CONTEXT)[:, -1]
  fresh = (trained >= recycled.start) & (trained < recycled.stop)
  held = np.isin(pool.around(starts, 0, CONTEXT)[:, -1], trained[~fresh])
  assert fresh.mean() > 0.4 and held.any()


def indices(pool):
  """The first and the last slot that are recycled next."""
  slots = pool.slots(pool.oldest)
  return slots.start, slots.stop


def test_only_rows_that_are_alive_are_told():
  pool, selector, starts = made()
  rows, alive = windows(pool, starts[::4][:4])
  alive[1:3] = False
  selector.update(rows, alive, {'model': np.full(rows.shape, 7.0)})
  told = pool.columns[LOSS] == 7
  assert set(np.flatnonzero(told)) == set(rows[alive])
