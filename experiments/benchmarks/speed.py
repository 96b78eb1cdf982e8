"""Times an agent of any size over vectors or images.

  python -m experiments.benchmarks.speed SIZE KIND [--config.a=b ...]

SIZE is one of 1m ... 400m and KIND `vector` (24 numbers, 6 continuous actions)
or `image` (64x64x3, 17 discrete actions). Batches are 16x64 of random numbers,
unless flags say otherwise. Prints one JSON line:

  start_up          s from the start of the process to the end of the first
                    update, compilation included
  update, policy    s, medians; the policy acts in one environment
  peak              GFLOP/s of a large matrix product in the same process
  memory            bytes of the process at its largest
"""

import json
import resource
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import START
from experiments.benchmarks.problem import Problem

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


def measure(problem: Problem) -> dict[str, float]:
  """The figures of the module's docstring."""
  learner = problem.learner()
  batch = problem.batch(learner)
  run = [learner.init(0), learner.initial(problem.config.train.batch_size)]

  def update():
    run[0], run[1], _, metrics = learner.train_step(*run, batch)
    return metrics

  jax.block_until_ready(update())
  start_up = time.perf_counter() - START
  seconds = median(update)
  memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  acting, carry = learner.acting(run[0]), learner.initial(1)
  keys = (*problem.spaces[0], 'is_first')
  obs = {k: batch[k][:1, 0] for k in keys}
  key = jax.random.key(0)
  return {
    'start_up': start_up,
    'update': seconds,
    'policy': median(lambda: learner.policy(acting, carry, obs, key, 0)),
    'peak': peak(),
    'memory': memory,
  }


def main(argv: list[str]) -> None:
  size, kind, *flags = argv[1:]
  figures = measure(Problem(size, kind, tuple(flags)))
  record = {'problem': ' '.join(argv[1:]), 'device': str(jax.devices()[0])}
  print(json.dumps(record | {k: round(v, 5) for k, v in figures.items()}))


if __name__ == '__main__':
  main(sys.argv)
