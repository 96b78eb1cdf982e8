"""Keeps the newest steps in memory and draws windows uniformly."""

import numpy as np

from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.schema import Count
from dreamer_nnx.slots import REPLAY

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@REPLAY.register('mine')
class Mine:
  """One ring of steps for each worker; nothing of it is saved.

  Args:
    capacity: Steps of all workers together.
  """

  # Lines for the start of a run.
  notes = ()

  def __init__(
    self,
    spaces,
    num_envs,
    batch_size,
    batch_length,
    seed,
    context_needed,
    *,
    capacity: Count = 10_000,
  ):
    self.context = context_needed
    self._length = self.context + batch_length
    self._size = max(capacity // num_envs, self._length)
    shape = (self._size, num_envs)
    # (size, W, ...)
    self._steps = {
      key: np.zeros((*shape, *space.shape), space.dtype)
      for key, space in spaces.items()
    }
    self._batch_size, self._added = batch_size, 0
    self._rng = np.random.default_rng(seed)

  @property
  def ready(self):
    return self._added >= self._length

  def __len__(self):
    steps = next(iter(self._steps.values()))
    return min(self._added, self._size) * steps.shape[1]

  def add(self, steps):
    for key, ring in self._steps.items():
      ring[self._added % self._size] = steps[key]
    self._added += 1

  def sample(self):
    oldest = max(0, self._added - self._size)
    newest = self._added - self._length
    workers = next(iter(self._steps.values())).shape[1]
    # (B,), and times (B, L).
    worker = self._rng.integers(workers, size=self._batch_size)
    first = self._rng.integers(oldest, newest + 1, self._batch_size)
    times = first[:, None] + np.arange(self._length)
    place = times % self._size, worker[:, None]
    batch = {key: ring[place] for key, ring in self._steps.items()}
    if self.context:
      batch[CONSEC] = np.zeros(self._batch_size, np.int32)
    else:
      # Without a context a window begins from nothing.
      batch['is_first'][:, 0] = True
    return batch, (times[:, self.context :], worker)

  def update(self, handle, entries, signals):
    times, worker = handle
    # Those that were overwritten since are left out.
    alive = times >= self._added - self._size
    row, column = np.nonzero(alive)
    place = times[row, column] % self._size, worker[row]
    for key, value in entries.items():
      self._steps[key][place] = value[row, column]

  def save(self):
    return {}

  def wait(self):
    pass

  def files(self, index):
    return ()

  def retain(self, files):
    pass

  def load(self, index):
    self._added = 0

  def load_share(self, indices, share, shares):
    self._added = 0

  def stats(self):
    return {'steps': float(len(self))}
