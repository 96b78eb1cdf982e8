"""Times replay, beside that of a checkout of danijar/dreamerv3 if there is one.

  python -m experiments.benchmarks.replay [PATH]

Steps of 64x64x3 images and the latents of size 1m, windows of 16x65, and, for
priorities, a million steps of small vectors. One call of each in turn. Prints
one JSON line of median microseconds:

  add          one step of one environment
  sample       a batch, uniformly
  write_back   latents of a batch
  million      a batch from a million small steps, by priority and uniformly,
               and new priorities for it
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from dreamer_nnx.replay.chunked import ChunkedReplay

BATCH, LENGTH, STEPS = 16, 64, 4096
LATENT = {'latent/deter': (512,), 'latent/stoch': (32, 4)}
MILLION = 1_000_000


def step_of(count: int, image: bool) -> dict[str, np.ndarray]:
  """One step of several environments."""
  rng = np.random.default_rng(0)
  step = {k: np.zeros(count, bool) for k in FLAGS}
  step |= {'reward': np.ones(count, np.float32)}
  if not image:
    return step | {'vector': rng.random((count, 4), np.float32)}
  step |= {'action': rng.integers(0, 17, count, dtype=np.int32)}
  step |= {'image': rng.integers(0, 256, (count, 64, 64, 3), np.uint8)}
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
  """This replay, filled."""

  def __init__(self, step: dict, steps: int = STEPS, **settings):
    self.step = step
    envs = len(step['reward'])
    capacity = max(4 * steps, 4096)
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
    self.replay.update(self.handle, latents, None)

  def draw(self) -> object:
    _, self.handle = self.replay.sample()

  def prioritise(self) -> None:
    priority = self.rng.random((BATCH, LENGTH))
    self.replay.update(self.handle, {}, priority)


def in_turn(functions: dict[str, Callable], calls: int) -> dict[str, float]:
  """Median microseconds of each."""
  times = {name: [] for name in functions}
  for _ in range(calls):
    for name, function in functions.items():
      start = time.perf_counter()
      function()
      times[name].append(1e6 * (time.perf_counter() - start))
  return {k: round(statistics.median(v), 1) for k, v in times.items()}


def main(argv: list[str]) -> None:
  step = step_of(1, image=True)
  contenders = {'here': Here(step)}
  if argv[1:]:
    contenders['reference'] = Reference(argv[1], step)
  record = {}
  for name, calls in (('add', 2000), ('sample', 200), ('write_back', 200)):
    functions = {who: getattr(x, name) for who, x in contenders.items()}
    record[name] = in_turn(functions, calls)
  small = step_of(16, image=False)
  mixtures = {
    'prioritised': {'priority': 1.0, 'uniform': 0.0},
    'uniform': {'priority': 0.0, 'uniform': 1.0},
  }
  pair = {k: Here(small, MILLION, **v) for k, v in mixtures.items()}
  calls = {k: x.draw for k, x in pair.items()}
  calls['priorities'] = pair['prioritised'].prioritise
  # What was never drawn comes first, and all at once: leave that behind.
  in_turn(calls, 100)
  record['million'] = in_turn(calls, 300)
  print(json.dumps(record))


if __name__ == '__main__':
  main(sys.argv)
