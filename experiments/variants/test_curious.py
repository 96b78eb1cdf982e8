"""Curious Replay: draws after a save, and without a share."""

from types import SimpleNamespace

import numpy as np
import pytest

from dreamer_nnx.registry import Choice, Choices
from dreamer_nnx.replay.chunked import ChunkedReplay
from dreamer_nnx.slots import SELECTOR

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


def replay(directory, seed=0, **shares):
  names = shares or {'curious': 1.0}
  selectors = Choices(
    SELECTOR, [Choice(SELECTOR, k, share=x) for k, x in names.items()]
  )
  return ChunkedReplay(
    SPACES,
    WORKERS,
    2,
    LENGTH,
    str(directory),
    seed,
    signals=('model',),
    capacity=40,
    chunk_size=5,
    online=False,
    selectors=selectors,
  )


def train(replay, begin, end):
  """Adds steps and trains on batches, whose counts are returned."""
  drawn = []
  for time in range(begin, end):
    replay.add(step(time))
    if replay.ready:
      batch, handle = replay.sample()
      loss = np.sin(batch['count'][:, CONTEXT:] * (1.0 + time))
      replay.update(handle, {}, {'model': loss.astype(np.float32)})
      drawn.append(batch['count'])
  return np.array(drawn)


@pytest.mark.parametrize('until', [14, 50])
def test_draws_after_a_load_are_the_same(tmp_path, until):
  one, two = replay(tmp_path), replay(tmp_path, seed=9)
  train(one, 0, until)
  index = one.save()
  one.wait()
  train(two, 0, 30)
  two.load(index)
  expected = train(one, until, until + 40)
  np.testing.assert_array_equal(train(two, until, until + 40), expected)


def test_without_a_share_draws_are_those_without_it():
  without, off = replay('', uniform=1.0), replay('', uniform=1.0, curious=0.0)
  expected = train(without, 0, 60)
  np.testing.assert_array_equal(train(off, 0, 60), expected)
  # And with one they are not.
  on = replay('', uniform=1.0, curious=1.0)
  assert (train(on, 0, 60) != expected).any()
