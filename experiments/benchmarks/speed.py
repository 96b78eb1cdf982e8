"""Times the parts of a run at any size, over vectors or images.

  python -m experiments.benchmarks.speed SIZE KIND [--config.a=b ...]

SIZE is one of 1m ... 400m and KIND `vector` (24 numbers, 6 continuous actions)
or `image` (64x64x3, 17 discrete actions). Batches are 16x64 of random numbers,
unless flags say otherwise. Prints one JSON line:

  start_up          s from the start of the process to the end of the first
                    update, compilation included
  update, policy    s, medians; the policy acts in one environment, results
                    on the host
  save_blocks, save s that training waits for a checkpoint straight after an
                    update, and until it is written; the disk's, too
  after_save        s of the update that runs while one is being written
  restore           s
  gflop             of an update: its matrix products and convolutions
  gflops, peak      GFLOP/s of an update, and of a large matrix product in the
                    same process
  fraction          gflops / peak
  memory            bytes of the process at its largest, before checkpoints
"""

import contextlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx.training.checkpoint import Checkpoints
from experiments.benchmarks import START, flops
from experiments.benchmarks.contender import Here

# A measurement lasts this long, in seconds, or this many calls.
SECONDS, CALLS = 10.0, 100
SIDE = 2048


def median(function: Callable) -> float:
  """Seconds of a call, the first not counted."""
  jax.block_until_ready(function())
  times = []
  while len(times) < 3 or (sum(times) < SECONDS and len(times) < CALLS):
    start = time.perf_counter()
    jax.block_until_ready(function())
    times.append(time.perf_counter() - start)
  return float(np.median(times))


def peak() -> float:
  """GFLOP/s of a float32 product of two large square matrices."""
  x = jnp.ones((SIDE, SIDE), jnp.float32)
  product = jax.jit(jnp.matmul)
  return 2 * SIDE**3 / median(lambda: product(x, x)) / 1e9


def checkpoints(here: Here) -> dict[str, float]:
  """Seconds of saving and restoring the state, and of an update meanwhile.

  Medians of three saves after two that start threads and compile the copying.
  """
  times: dict[str, list[float]] = {'save_blocks': [], 'save': []}
  after = []
  with tempfile.TemporaryDirectory() as folder:
    with contextlib.closing(Checkpoints(folder)) as manager:
      for step in range(1, 6):
        jax.block_until_ready(here.update())
        start = time.perf_counter()
        manager.save(step, here.state, {}, {})
        times['save_blocks'].append(time.perf_counter() - start)
        manager.wait()
        times['save'].append(time.perf_counter() - start)
      for step in range(6, 9):
        manager.save(step, here.state, {}, {})
        start = time.perf_counter()
        jax.block_until_ready(here.update())
        after.append(time.perf_counter() - start)
        manager.wait()
    with contextlib.closing(Checkpoints(folder)) as manager:
      start = time.perf_counter()
      saved = manager.restore(here.learner.abstract)
      jax.block_until_ready(saved.state)
      restore = time.perf_counter() - start
  figures = {k: float(np.median(v[2:])) for k, v in times.items()}
  after = float(np.median(after))
  return figures | {'after_save': after, 'restore': restore}


def measure(size: str, kind: str, flags: list[str]) -> dict[str, float]:
  """The figures of the module's docstring."""
  here = Here(size, kind, flags)
  here.start()
  jax.block_until_ready(here.update())
  start_up = time.perf_counter() - START
  update, policy = median(here.update), median(here.act)
  memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  inputs = here.state, here.carry, here.batch
  gflop = flops.count(jax.make_jaxpr(here.learner.train_step)(*inputs)) / 1e9
  rate, limit = gflop / update, peak()
  figures = {'start_up': start_up, 'update': update, 'policy': policy}
  figures |= checkpoints(here)
  figures |= {'gflop': gflop, 'gflops': rate, 'peak': limit}
  return figures | {'fraction': rate / limit, 'memory': memory}


def main(argv: list[str]) -> None:
  size, kind, *flags = argv[1:]
  figures = measure(size, kind, flags)
  record = {'problem': ' '.join(argv[1:]), 'device': str(jax.devices()[0])}
  print(json.dumps(record | {k: round(v, 5) for k, v in figures.items()}))


if __name__ == '__main__':
  main(sys.argv)
