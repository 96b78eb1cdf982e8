"""Numbered experience: every step of every worker can be told from others."""

import json
from types import SimpleNamespace

import numpy as np

from dreamer_nnx.registry import Choice, Choices
from dreamer_nnx.replay.chunked import ChunkedReplay
from dreamer_nnx.slots import SELECTOR


def space(shape, dtype):
  return SimpleNamespace(shape=shape, dtype=np.dtype(dtype))


def classes(shape, numbers):
  """Describes indices of so many classes."""
  return SimpleNamespace(**vars(space(shape, 'int32')), classes=numbers)


SPACES = {
  'count': space((), 'int32'),
  'image': space((2, 3, 1), 'uint8'),
  'is_first': space((), 'bool'),
  'is_last': space((), 'bool'),
  'latent/deter': space((2,), 'float32'),
}


def step(time, num_envs):
  """Worker w at time t has count 1000 w + t + 1."""
  count = 1000 * np.arange(num_envs) + time + 1
  pixels = np.arange(6).reshape(2, 3, 1)
  return {
    'count': count,
    'image': (count[:, None, None, None] * 7 + pixels).astype(np.uint8),
    'is_first': np.full(num_envs, time == 0),
    'is_last': np.zeros(num_envs, bool),
    'latent/deter': np.stack([count, -count], -1).astype(np.float32),
  }


def fill(replay, begin, end, num_envs=2):
  for time in range(begin, end):
    replay.add(step(time, num_envs))
  return replay


def by_share(**shares):
  """Selectors by name, with a share or several fields each."""
  fields = {
    name: x if isinstance(x, dict) else {'share': x}
    for name, x in shares.items()
  }
  return Choices(
    SELECTOR, [Choice(SELECTOR, k, **x) for k, x in fields.items()]
  )


def make(directory='', seed=3, *, num_envs=2, **config):
  """Windows of 4 steps (1 + 3) in chunks of 5, two sequences a batch."""
  config = {'capacity': 80, 'chunk_size': 5, 'online': False} | config
  config.setdefault('signals', ('model',))
  return ChunkedReplay(SPACES, num_envs, 2, 3, str(directory), seed, **config)


def firsts(replay, batches):
  """The first count of each sequence drawn."""
  draws = [replay.sample()[0]['count'][:, 0] for _ in range(batches)]
  return np.concatenate(draws)


def same(left, right):
  """Whether two batches are equal in every bit."""
  return left.keys() == right.keys() and all(
    left[key].dtype == right[key].dtype and (left[key] == right[key]).all()
    for key in left
  )


def saved(replay):
  """The index of a save that is done, as a checkpoint brings it back."""
  index = json.loads(json.dumps(replay.save()))
  replay.wait()
  return index
