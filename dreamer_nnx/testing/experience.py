"""Checks of replays and selectors, by steps that say what they are."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from dreamer_nnx import contracts
from dreamer_nnx.registry import Choice, Choices
from dreamer_nnx.slots import ENV, REPLAY, SELECTOR
from dreamer_nnx.testing import toys
from dreamer_nnx.testing.broken import (
  Broken,
  expect,
  expect_equal,
  promising,
)
from dreamer_nnx.testing.running import Player

WORKERS, ROWS, LENGTH, CONTEXT = 2, 3, 4, 1
EPISODE, STEPS = 7, 60
ENTRY = 'latent/state'


def _struct(dtype: Any, *shape: int) -> SimpleNamespace:
  return SimpleNamespace(shape=shape, dtype=np.dtype(dtype))


SPACES = {
  'action': _struct(np.int32),
  'image': _struct(np.uint8, 4, 4, 1),
  'is_first': _struct(bool),
  'is_last': _struct(bool),
  'is_terminal': _struct(bool),
  ENTRY: _struct(np.float32, 2),
  # Worker and time.
  'place': _struct(np.float32, 2),
  'reward': _struct(np.float32),
}


def _values(worker: np.ndarray, time: np.ndarray) -> dict[str, np.ndarray]:
  """Makes the steps of these workers at these times, (...,) each."""
  place = np.stack([worker, time], -1).astype(np.float32)
  shade = ((time + 100 * worker) % 256).astype(np.uint8)
  last = time % EPISODE == EPISODE - 1
  return {
    'action': (time + worker).astype(np.int32) % 3,
    'image': np.broadcast_to(
      shade[..., None, None, None], (*shade.shape, 4, 4, 1)
    ),
    'is_first': time % EPISODE == 0,
    'is_last': last,
    'is_terminal': last,
    ENTRY: place,
    'place': place,
    'reward': np.where(time % EPISODE, time, 0).astype(np.float32),
  }


def _fill(replay: contracts.Replay, begin: int, count: int) -> None:
  worker = np.arange(WORKERS)
  for time in range(begin, begin + count):
    replay.add(_values(worker, np.full(WORKERS, time)))


def write_data(folder: Path) -> None:
  """Writes a file of episodes, of a worker of their own."""
  time = np.arange(4 * EPISODE)
  steps = _values(np.full(time.shape, WORKERS), time)
  _save(folder, {k: x for k, x in steps.items() if k != ENTRY})


def write_walks(folder: Path) -> None:
  """Writes episodes of the game of `games`, by random actions."""
  player = Player(Choice(ENV, 'custom', make='dreamer_nnx.testing.games:make'))
  found = [dict(player.envs.reset())]
  actions = []
  for _ in range(40):
    actions.append(player.draw())
    found.append(dict(player.envs.step(actions[-1])))
  player.envs.close()
  # Of the first worker, (T, ...).
  steps = {k: np.stack([step[k][0] for step in found[:-1]]) for k in found[0]}
  steps |= {k: np.stack([x[k][0] for x in actions]) for k in actions[0]}
  _save(folder, steps)


def _save(folder: Path, steps: dict[str, np.ndarray]) -> None:
  folder.mkdir(parents=True, exist_ok=True)
  np.savez(folder / 'episodes.npz', **steps)


@contextlib.contextmanager
def _telling(name: str) -> Iterator[None]:
  """Tells of what the toolkit refuses, too."""
  try:
    with promising(name):
      yield
  except ValueError as error:
    raise Broken(name, str(error)) from error


def check_replay(component: toys.Component, **fields: Any) -> None:
  """Checks a replay by steps that say when they were added.

  Args:
    component: Its name, builder or choice; the other arguments are its fields.

  Raises:
    Broken: It does not keep a promise.
  """
  name = toys.title(REPLAY, component)
  choice = toys.choice(REPLAY, component, fields)
  with tempfile.TemporaryDirectory() as folder, _telling(name):
    replay = _build(choice, folder)
    before = len(replay)
    _fill(replay, 0, STEPS)
    # Data are fixed: nothing is known of them.
    known = len(replay) > before
    promise = f'it is ready after {STEPS} steps of each worker'
    expect(name, replay.ready, promise)
    for _ in range(8):
      _check_batch(name, replay, replay.sample()[0], known)
    if known:
      _check_update(name, replay)
    _fill(replay, STEPS, 5)
    _check_same_seed(name, choice)
    _check_saved(name, choice, folder, replay, known)
    stats = replay.stats()
    numbers = all(np.ndim(x) == 0 for x in stats.values())
    expect(name, numbers, '`stats` are single numbers by name')


def _build(choice: Choice, folder: str) -> contracts.Replay:
  return toys.build(
    choice,
    spaces=SPACES,
    num_envs=WORKERS,
    batch_size=ROWS,
    batch_length=LENGTH,
    directory=folder,
    seed=0,
    process=0,
    processes=1,
    steps=0,
    scratch='',
    context_needed=CONTEXT,
    signals=('model',),
  )


def _check_batch(name, replay, batch: dict, known: bool) -> None:
  length = replay.context + LENGTH
  keys = set(SPACES) | (set(batch) & {contracts.CONSEC})
  promise = 'a batch has the keys of `spaces`'
  expect(name, set(batch) == keys, promise, f'{sorted(batch)}')
  for key, space in SPACES.items():
    x, shape = batch[key], (ROWS, length, *space.shape)
    fits = x.shape == shape and x.dtype == space.dtype
    promise = f'{key!r} of a batch is {shape} {space.dtype}'
    expect(name, fits, promise, f'{x.shape} {x.dtype}')
  if not known:
    return
  # (B, L, 2) to (B, L) each.
  worker, time = batch['place'][..., 0], batch['place'][..., 1]
  same = (worker == worker[:, :1]).all() and (np.diff(time, axis=1) == 1).all()
  promise = 'a window is consecutive steps of one worker'
  expect(name, same, promise, f'{time.tolist()}')
  want = _values(worker.astype(int), time.astype(int))
  for key in ('action', 'image', 'is_terminal', 'reward'):
    fits = np.array_equal(batch[key], want[key])
    expect(name, fits, 'steps are returned as they were added', key)
  # The first of a window may be marked as one that nothing is known before.
  for key, steps in (('is_first', slice(1, None)), ('is_last', slice(-1))):
    fits = np.array_equal(batch[key][:, steps], want[key][:, steps])
    expect(name, fits, 'steps are returned as they were added', key)


def _check_update(name: str, replay: contracts.Replay) -> None:
  """Checks that entries come back to the steps that they are of."""
  moved = lambda place: -place - 1
  for _ in range(8):
    batch, handle = replay.sample()
    place = batch['place'][:, replay.context :]
    signals = {'model': np.ones((ROWS, LENGTH), np.float32)}
    replay.update(handle, {ENTRY: moved(place)}, signals)
  new = 0
  for _ in range(16):
    batch, _ = replay.sample()
    place, entry = batch['place'], batch[ENTRY]
    is_new = (entry == moved(place)).all(-1)
    good = is_new | (entry == place).all(-1)
    # Rows that begin from nothing have steps without entries.
    good |= _begins(batch)[:, None] < 0
    promise = '`update` writes an entry to the step of the batch, and no other'
    expect(name, good.all(), promise, f'{entry[~good][:1].tolist()}')
    new += is_new.sum()
  expect(name, new, '`update` writes entries back', 'all are as before')


def _begins(batch: dict[str, np.ndarray]) -> np.ndarray:
  """Tells how rows begin, see `contracts.Replay.sample`."""
  return batch.get(contracts.CONSEC, np.zeros(ROWS, np.int32))


def _draws(replay: contracts.Replay) -> dict[str, Any]:
  batches = [replay.sample()[0] for _ in range(4)]
  return {
    f'{key} of batch {i}': x
    for i, batch in enumerate(batches)
    for key, x in batch.items()
  }


def _check_same_seed(name: str, choice: Choice) -> None:
  found = []
  for _ in range(2):
    with tempfile.TemporaryDirectory() as folder:
      replay = _build(choice, folder)
      _fill(replay, 0, STEPS)
      found.append(_draws(replay))
  expect_equal(name, found[1], found[0], 'the same seed draws the same batches')


def _check_saved(name, choice, folder, replay, known) -> None:
  index = replay.save()
  replay.wait()
  if not index:
    return
  replay.retain(replay.files(index))
  size, want = len(replay), _draws(replay)
  other = _build(choice, folder)
  other.load(index)
  promise = '`load` brings back all steps that were saved'
  expect(name, len(other) == size, promise, f'{len(other)} of {size}')
  promise = 'a replay that was loaded draws what the saved one does'
  expect_equal(name, _draws(other), want, promise)


def check_selector(component: toys.Component, **fields: Any) -> None:
  """Checks a selector, in a small replay that recycles its steps.

  Args:
    component: Its name, builder or choice; the other arguments are its fields.

  Raises:
    Broken: It does not keep a promise.
  """
  name = toys.title(SELECTOR, component)
  choice = toys.choice(SELECTOR, component, fields)
  small = dict(chunk_size=8, capacity=96, online=False)
  chunked = Choice(
    REPLAY, 'chunked', selectors=Choices(SELECTOR, [choice]), **small
  )
  with tempfile.TemporaryDirectory() as folder, _telling(name):
    replay = _build(chunked, folder)
    for begin in range(0, 200, 20):
      _fill(replay, begin, 20)
      for _ in range(4):
        batch, handle = replay.sample()
        _check_batch(name, replay, batch, True)
        _tell(replay, batch, handle)
    index = replay.save()
    replay.wait()
    want = _told_draws(replay)
    other = _build(chunked, folder)
    other.load(index)
    promise = 'its columns and `state` are all that its draws depend on'
    expect_equal(name, _told_draws(other), want, promise)
  _check_seed(name, chunked)


def _tell(replay, batch, handle) -> None:
  # (B, T), different for each step.
  time = batch['place'][:, replay.context :, 1]
  signals = {'model': (1 + time % 5).astype(np.float32)}
  entries = {ENTRY: batch[ENTRY][:, replay.context :]}
  replay.update(handle, entries, signals)


def _told_draws(replay) -> dict[str, Any]:
  found = {}
  for i in range(4):
    batch, handle = replay.sample()
    _tell(replay, batch, handle)
    found[f'batch {i}'] = batch['place']
  return found


def _check_seed(name: str, chunked: Choice) -> None:
  found = []
  for _ in range(2):
    with tempfile.TemporaryDirectory() as folder, _telling(name):
      replay = _build(chunked, folder)
      _fill(replay, 0, 40)
      found.append(_told_draws(replay))
  promise = 'draws come from the generator that it is given alone'
  expect_equal(name, found[1], found[0], promise)
