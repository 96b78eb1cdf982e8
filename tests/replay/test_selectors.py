import zlib

import numpy as np
import pytest

from dreamer_nnx.replay.chunks import ChunkPool
from dreamer_nnx.replay.priority import Priority
from dreamer_nnx.replay.recency import Recency
from dreamer_nnx.replay.selectors import Selectors
from dreamer_nnx.replay.uniform import Uniform
from tests.replay.streams import (
  SPACES,
  by_share,
  fill,
  firsts,
  make,
  saved,
  step,
)

LENGTH = 3


def pool_of(steps, num_envs=1, groups=6):
  pool = ChunkPool(SPACES, num_envs, groups, 4, LENGTH)
  for time in range(steps):
    if pool.offset == pool.chunk_size:
      pool.advance()
    pool.add(step(time, num_envs))
  pool.sync()
  return pool


def priority_of(pool, exponent=1.0, max_fraction=0.5, context=0):
  selector = Priority(
    pool, context, exponent=exponent, max_fraction=max_fraction
  )
  pool.add_columns(selector.columns)
  return selector


def frequencies(selector, pool, draws=40_000):
  rows = selector.select(np.random.default_rng(7), draws)
  assert pool.is_start(rows).all()
  return np.bincount(rows, minlength=pool.num_chunks * 4) / draws


def set_priorities(selector, pool, values):
  rows = np.arange(len(values))[None]
  alive = np.ones(rows.shape, bool)
  selector.update(rows, alive, {'model': np.array(values, np.float32)[None]})


def test_rows_around_follow_the_stream_of_the_worker():
  pool = pool_of(10, num_envs=2)
  # Chunks of 4: worker 1 is in slots 1, 3, 5, hence rows 4.., 12.., 20...
  assert pool.around(np.array([13]), 3, 5).tolist() == [
    [6, 7, 12, 13, 14, 15, 20, 21, -1]
  ]
  assert pool.around(np.array([0]), 2, 1).tolist() == [[-1, -1, 0, 1]]


def test_recency_follows_its_law():
  # 9 starts of one worker in a ring that has wrapped round.
  pool = pool_of(27)
  held = int(pool.starts.sum())
  selector = Recency(pool)
  counts = frequencies(selector, pool)
  order = np.argsort(pool.flat['count'])
  order = order[np.isin(order, np.flatnonzero(counts))][::-1]
  age = np.arange(held)
  expect = np.log((age + 2) / (age + 1)) / np.log(held + 1)
  # Five standard deviations of a frequency from 40000 draws.
  np.testing.assert_allclose(
    counts[order], expect, atol=5 * np.sqrt(0.25 / 40_000)
  )


def test_recency_treats_workers_alike():
  pool = pool_of(11, num_envs=3)
  counts = frequencies(Recency(pool), pool).reshape(6, 3, 4).sum((0, 2))
  np.testing.assert_allclose(counts, 1 / 3, atol=0.0125)


def test_recency_of_exponent_0_is_uniform():
  pool = pool_of(11)
  counts = frequencies(Recency(pool, exponent=0.0), pool)[:9]
  np.testing.assert_allclose(counts, 1 / 9, atol=0.0125)


def test_recency_prefers_new_sequences_in_training():
  replay = fill(make(selectors=by_share(recency=1.0)), 0, 40)
  times = firsts(replay, 500) % 1000 - 1
  # The law gives the newest half of 74 starts log(38) / log(75) = 0.84.
  assert 0.8 < (times >= 18).mean() < 0.9


@pytest.mark.parametrize('exponent', [0.5, 1.0])
@pytest.mark.parametrize('max_fraction', [0.0, 0.25, 1.0])
def test_priorities_are_the_odds(exponent, max_fraction):
  pool = pool_of(9)
  selector = priority_of(pool, exponent, max_fraction)
  values = np.array([1.0, 0.0, 0.0, 4.0, 0.0, 9.0, 0.0, 0.0, 0.0])
  set_priorities(selector, pool, values)
  windows = np.lib.stride_tricks.sliding_window_view(values**exponent, 3)
  mean, most = windows.mean(1), windows.max(1)
  weights = max_fraction * most + (1 - max_fraction) * mean
  counts = frequencies(selector, pool)[:7]
  np.testing.assert_allclose(counts, weights / weights.sum(), atol=0.0125)


def test_the_context_has_no_say_and_stays():
  pool = pool_of(9)
  selector = priority_of(pool, context=1)
  set_priorities(selector, pool, [9, 9, 0, 0, 0, 5, 0, 0, 0])
  rng = np.random.default_rng(0)
  drawn = [int(selector.select(rng, 1)[0]) for _ in range(2)]
  selector.zero_drawn()
  # Steps 1 and 5 are behind the context of windows 0, and of 3 and 4.
  assert 0 in drawn and set(drawn) & {3, 4}
  assert pool.columns['priority'][[0, 1, 5]].tolist() == [9, 0, 0]


def test_recycled_steps_are_new_whatever_was_drawn_before():
  pool = pool_of(9)
  selector = priority_of(pool, context=1)
  set_priorities(selector, pool, np.arange(1.0, 10.0))
  selector.select(np.random.default_rng(0), 4)
  pool.clear()
  np.testing.assert_array_equal(pool.columns['priority'], np.inf)


def test_new_sequences_come_first_each_once():
  pool = pool_of(9)
  selector = priority_of(pool)
  rows = selector.select(np.random.default_rng(0), 7)
  assert sorted(rows.tolist()) == list(range(7))


def test_drawn_steps_have_no_priority_until_updated():
  pool = pool_of(9)
  selector = priority_of(pool)
  rng = np.random.default_rng(0)
  set_priorities(selector, pool, [0, 0, 0, 0, 5, 0, 0, 0, 1])
  drawn = set()
  for _ in range(50):
    row = int(selector.select(rng, 1)[0])
    drawn.add(row)
    if row in (2, 3, 4):
      break
  # The windows at 2, 3 and 4 hold the step of priority 5: now all are 0.
  assert row in (2, 3, 4) and drawn <= {row, 6}
  if 6 not in drawn and row != 6:
    assert selector.select(rng, 1).tolist() == [6]
  # No weight is left, so every start can come.
  assert set(selector.select(rng, 500).tolist()) == set(range(7))


def test_a_recycled_chunk_takes_its_priorities_along():
  pool = pool_of(24)
  selector = priority_of(pool)
  set_priorities(selector, pool, [50.0] * 4 + [1.0] * 20)
  selector.select(np.random.default_rng(0), 1)
  pool.advance()
  for time in range(24, 28):
    pool.add(step(time, 1))
  pool.sync()
  # The 4 new steps are in chunk 0: starts 22 to 25 have not been drawn.
  rows = selector.select(np.random.default_rng(0), 4)
  assert sorted(rows.tolist()) == [0, 1, 22, 23]


def test_priorities_shift_training():
  selectors = by_share(priority={'exponent': 1.0})
  replay = fill(make(selectors=selectors), 0, 40)
  hits = []
  for _ in range(600):
    batch, handle = replay.sample()
    count = batch['count'][:, 1:]
    signals = {'model': np.where(count == 1020, 50.0, 0.01)}
    replay.update(handle, {}, signals)
    hits.append((batch['count'] == 1020).any(1))
  # Uniform sampling would hold the step in 4 of 74 windows.
  assert np.mean(hits[300:]) > 0.8


class Constant:
  """Draws always the same start."""

  wants = ()

  def __init__(self, row, share):
    self.row, self.share, self.columns = row, share, {}

  def select(self, rng, count):
    return np.full(count, self.row)


def test_mixture_keeps_the_shares():
  named = {
    f'{row}': Constant(row, 2.0 if row == 1 else 1.0) for row in (1, 2, 3)
  }
  rows = Selectors(pool_of(9), named).select(np.random.default_rng(0), 40_000)
  share = np.bincount(rows)[1:] / 40_000
  np.testing.assert_allclose(share, [0.5, 0.25, 0.25], atol=0.0125)


def test_every_mixture_trains():
  for shares in ((1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 2, 3)):
    names = ('uniform', 'priority', 'recency')
    selectors = by_share(**dict(zip(names, map(float, shares), strict=True)))
    replay = fill(make(online=True, selectors=selectors), 0, 6)
    for time in range(6, 60):
      fill(replay, time, time + 1)
      batch, handle = replay.sample()
      steps = batch['count'] - batch['count'][:, :1]
      np.testing.assert_array_equal(steps, [[0, 1, 2, 3]] * 2)
      replay.update(handle, {}, {'model': batch['count'][:, 1:]})
    columns = {'priority'} if shares[1] else set()
    assert replay._pool.columns.keys() == columns


def test_uniform_is_uniform_over_the_ring():
  pool = pool_of(27)
  counts = frequencies(Uniform(pool), pool)
  held = int(pool.starts.sum())
  np.testing.assert_allclose(counts[counts > 0], 1 / held, atol=0.0125)


# By shares, then the settings: the CRC-32 of what version 0.1 drew.
DRAWS = [
  ({'uniform': 1.0}, {'online': True, 'consec': 2}, 3536094140),
  ({'priority': 1.0}, {'online': True, 'consec': 2}, 3216243587),
  ({'priority': 1.0}, {'context': 0}, 1598226283),
  ({'recency': 1.0}, {'online': True, 'consec': 2}, 3103056290),
  (
    {'uniform': 0.5, 'priority': 1.0, 'recency': 2.0},
    {'online': True, 'consec': 2},
    2754537067,
  ),
  ({'uniform': 0.5, 'priority': 1.0, 'recency': 2.0}, {}, 2974744390),
]


@pytest.mark.parametrize(('shares', 'config', 'crc'), DRAWS)
def test_draws_are_those_of_version_0_1(tmp_path, shares, config, crc):
  config = {'capacity': 120, 'selectors': by_share(**shares)} | config
  replay, found = make(tmp_path, 5, **config), 0
  for time in range(150):
    fill(replay, time, time + 1)
    if replay.ready:
      batch, handle = replay.sample()
      found = zlib.crc32(batch['count'].tobytes(), found)
      found = zlib.crc32(batch['latent/deter'].tobytes(), found)
      value = batch['count'][:, -3:].astype(np.float32)
      entries = {'latent/deter': np.stack([value + time, value / 3], -1)}
      if time % 7:
        replay.update(handle, entries, {'model': np.sqrt(value)})
    if time in (60, 110):
      index = saved(replay)
      replay = make(tmp_path, 9, **config)
      replay.load(index)
  assert found == crc
