"""A replay written from `contracts.Replay` alone, and some that break it.

Uniform over Python lists, one a worker. It saves nothing.
"""

import numpy as np


class ListReplay:
  """Windows of context + T steps, each key of the spaces in its format."""

  context = 1
  notes = ()
  # What a broken one takes off the length of a window.
  short = 0

  def __init__(
    self, spaces, num_envs, batch_size, batch_length, seed, *, most: int = 1000
  ):
    self.spaces, self.batch_size, self.most = spaces, batch_size, most
    self.batch_length = batch_length
    self.workers = [[] for _ in range(num_envs)]
    self.rng = np.random.default_rng(seed)
    self.handles = {}
    self.drawn = self.written = 0

  @property
  def length(self):
    return self.context + self.batch_length - self.short

  @property
  def ready(self):
    return len(self.workers[0]) >= self.length

  def __len__(self):
    return sum(map(len, self.workers))

  def add(self, steps):
    for worker, held in enumerate(self.workers):
      held.append(
        {
          key: np.array(steps[key][worker], space.dtype)
          for key, space in self.spaces.items()
        }
      )
      del held[: -self.most]

  def sample(self):
    windows = [self.window() for _ in range(self.batch_size)]
    batch = {
      key: np.stack([[step[key] for step in window] for window in windows])
      for key in self.spaces
    }
    self.drawn += 1
    return batch, [window[self.context :] for window in windows]

  def window(self):
    held = self.workers[self.rng.integers(len(self.workers))]
    begin = self.rng.integers(len(held) - self.length + 1)
    return held[begin : begin + self.length]

  def update(self, handle, entries, signals):
    shape = len(handle), self.batch_length
    assert signals.keys() == {'model'}
    assert all(x.shape == shape for x in signals.values())
    for row, window in enumerate(handle):
      for time, step in enumerate(window):
        for key, value in entries.items():
          assert step[key].shape == value[row, time].shape
          step[key] = value[row, time]
    self.written += 1

  def save(self):
    return {}

  def wait(self):
    pass

  def files(self, index):
    return ()

  def retain(self, files):
    pass

  def load(self, index):
    self.workers = [[] for _ in self.workers]

  def load_share(self, indices, share, shares):
    self.load({})

  def stats(self):
    return {'steps': float(len(self))}


class Short(ListReplay):
  """Forgets that the context is a step more."""

  short = 1


class Incomplete(ListReplay):
  """Leaves a key out."""

  def sample(self):
    batch, handle = super().sample()
    del batch['action']
    return batch, handle


class Silent(ListReplay):
  """Does not tell its context."""

  @property
  def context(self):
    raise AttributeError
