"""Times replay, beside that of a checkout of danijar/dreamerv3 if there is one.

  python -m experiments.benchmarks.replay [--quick] [PATH]

In memory and in files that are mapped into it, in the folder for temporary
files. Steps of 64x64x3 images and the latents of size 1m, windows of 16x65; for
priorities a million steps, of 24 numbers or 32x32x3 images with those latents,
12 GB of memory and 6 GB of disk in all, and with --quick a twentieth of that.
One call of each in turn. Prints one JSON line of median microseconds:

  add          one step of one environment
  sample       a batch, uniformly
  write_back   latents of a batch
  million      of each kind of step: a batch from a million of them, by priority
               and uniformly, in memory and on disk, and new priorities for it
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

from dreamer_nnx.registry import Choice, Choices
from dreamer_nnx.replay.chunked import ChunkedReplay
from dreamer_nnx.slots import SELECTOR

BATCH, LENGTH, STEPS = 16, 64, 4096
LATENT = {'latent/deter': (512,), 'latent/stoch': (32, 4)}
MILLION, QUICK = 1_000_000, 50_000
SIDES = {'vectors': 0, 'images': 32}


def step_of(count: int, side: int) -> dict[str, np.ndarray]:
  """One step of several environments; of vectors where `side` is 0."""
  rng = np.random.default_rng(0)
  step = {k: np.zeros(count, bool) for k in FLAGS}
  step |= {'reward': np.ones(count, np.float32)}
  step |= {'action': rng.integers(0, 17, count, dtype=np.int32)}
  if side:
    step |= {'image': rng.integers(0, 256, (count, side, side, 3), np.uint8)}
  else:
    step |= {'vector': rng.random((count, 24), np.float32)}
  return step | {
    k: rng.random((count, *shape), np.float32) for k, shape in LATENT.items()
  }


FLAGS = ('is_first', 'is_last', 'is_terminal')


def make(step: dict, capacity: int, **settings) -> ChunkedReplay:
  spaces = {k: np.empty(v.shape[1:], v.dtype) for k, v in step.items()}
  envs = len(step['reward'])
  args = (spaces, envs, BATCH, LENGTH, '', 0)
  return ChunkedReplay(*args, capacity=capacity, **settings)


class Reference:
  """Their replay, filled with the same steps."""

  def __init__(self, path: str, step: dict):
    sys.path.insert(0, path)
    from embodied.core.replay import Replay

    self.replay = Replay(1 + LENGTH, capacity=STEPS * 4, chunksize=1024)
    self.step = {k.replace('latent', 'dyn'): v[0] for k, v in step.items()}
    for _ in range(STEPS):
      self.add()
    self.batch = self.sample()

  def add(self) -> None:
    self.replay.add(self.step)

  def sample(self) -> dict:
    return self.replay.sample(BATCH)

  def write_back(self) -> None:
    names = ('stepid', 'dyn/deter', 'dyn/stoch')
    self.replay.update({k: self.batch[k][:, 1:] for k in names})


class Here:
  """The replay of this project, filled."""

  def __init__(self, step: dict, steps: int = STEPS, **settings):
    self.step = step
    envs = len(step['reward'])
    capacity = max(steps + envs * 1024, 4 * STEPS)
    self.replay = make(step, capacity, online=False, **settings)
    for _ in range(steps // envs):
      self.add()
    self.batch, self.handle = self.replay.sample()
    self.rng = np.random.default_rng(1)

  def add(self) -> None:
    self.replay.add(self.step)

  def sample(self) -> object:
    return self.replay.sample()

  def write_back(self) -> None:
    latents = {k: self.batch[k][:, 1:] for k in LATENT}
    self.replay.update(self.handle, latents, {})

  def draw(self) -> object:
    _, self.handle = self.replay.sample()

  def prioritise(self) -> None:
    signals = {'model': self.rng.random((BATCH, LENGTH))}
    self.replay.update(self.handle, {}, signals)


def in_turn(functions: dict[str, Callable], calls: int) -> dict[str, float]:
  """Median microseconds of each."""
  times = {name: [] for name in functions}
  for _ in range(calls):
    for name, function in functions.items():
      start = time.perf_counter()
      function()
      times[name].append(1e6 * (time.perf_counter() - start))
  return {k: round(statistics.median(v), 1) for k, v in times.items()}


def million(side: int, steps: int) -> dict[str, float]:
  """Batches of a million steps by priority and uniformly."""
  # By default what was never drawn comes first, which a long run is past.
  priority = Choices(SELECTOR, [Choice(SELECTOR, 'priority', initial=1.0)])
  mixtures = {
    'prioritised': {'selectors': priority, 'signals': ('model',)},
    'uniform': {},
  }
  step = step_of(16, side)
  with tempfile.TemporaryDirectory() as folder:
    mixtures['disk'] = mixtures['uniform'] | disk(folder)
    filled = {k: Here(step, steps, **v) for k, v in mixtures.items()}
    calls = {k: x.draw for k, x in filled.items()}
    calls['priorities'] = filled['prioritised'].prioritise
    in_turn(calls, 10)
    return in_turn(calls, 300)


def disk(folder: str) -> dict[str, str]:
  """Settings of a replay that maps files of a folder."""
  return {'storage': 'disk', 'scratch': folder}


def main(argv: list[str]) -> None:
  quick = '--quick' in argv
  argv = [x for x in argv if x != '--quick']
  step = step_of(1, 64)
  record = {}
  with tempfile.TemporaryDirectory() as folder:
    contenders = {'here': Here(step), 'disk': Here(step, **disk(folder))}
    if argv[1:]:
      contenders['reference'] = Reference(argv[1], step)
    for name, calls in (('add', 2000), ('sample', 200), ('write_back', 200)):
      functions = {who: getattr(x, name) for who, x in contenders.items()}
      record[name] = in_turn(functions, calls)
  steps = QUICK if quick else MILLION
  record['million'] = {k: million(v, steps) for k, v in SIDES.items()}
  print(json.dumps(record))


if __name__ == '__main__':
  main(sys.argv)
