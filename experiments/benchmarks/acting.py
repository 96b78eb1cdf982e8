"""Times a policy that was loaded from a checkpoint, and how it gets there.

  python -m experiments.benchmarks.acting SIZE

SIZE is one of 1m ... 400m. The environment is Pendulum-v1: 3 numbers, 1
continuous action; the agent is as it was initialised. Prints one JSON line, of
a process of its own:

  imported   s for `import dreamer_nnx`
  loaded     s for `load_policy`, from a local disk
  first      s of the first step, compilation included
  step       ms of a step in one episode, median: from the observation as the
             environment has it to the action in its units
  fastest    ms of the fastest step
  rows       ms of a step in 16 episodes at once, median
"""

import json
import subprocess
import sys
import tempfile
import time

import numpy as np

STEPS, ROWS = 2_000, 16


def write(size: str, folder: str) -> None:
  """Makes a workdir with a checkpoint of an agent that was never updated."""
  from dreamer_nnx import Run
  from dreamer_nnx import config as configs

  config = configs.base(size)
  patterns = {
    'env.name': 'gymnasium',
    'env.gymnasium.id': 'Pendulum-v1',
    'loggers.names': (),
    'train.envs': 1,
    'train.steps': 2,
  }
  configs.apply(config, patterns)
  with Run(config, folder) as run:
    run.train(evaluate=False)


def measure(folder: str) -> dict[str, float]:
  """Loads the policy, and steps it."""
  result, start = {}, time.perf_counter()
  import dreamer_nnx

  result['imported'], start = time.perf_counter() - start, time.perf_counter()
  policy = dreamer_nnx.load_policy(folder)
  result['loaded'], start = time.perf_counter() - start, time.perf_counter()
  obs = np.array([1.0, 0.0, 0.0])
  _, state = policy(obs)
  result['first'] = time.perf_counter() - start
  times = []
  for _ in range(STEPS):
    start = time.perf_counter()
    _, state = policy(obs, state)
    times.append(1e3 * (time.perf_counter() - start))
  result |= {'step': float(np.median(times)), 'fastest': min(times)}
  rows, times = np.tile(obs, (ROWS, 1)), []
  _, state = policy(rows)
  for _ in range(STEPS // 10):
    start = time.perf_counter()
    _, state = policy(rows, state)
    times.append(1e3 * (time.perf_counter() - start))
  return result | {'rows': float(np.median(times))}


def main() -> None:
  size, *rest = sys.argv[1:]
  if rest:
    print(json.dumps(measure(rest[0])))
    return
  with tempfile.TemporaryDirectory() as folder:
    write(size, folder)
    # In a process that has imported and compiled nothing.
    command = [sys.executable, '-m', 'experiments.benchmarks.acting', size]
    subprocess.run([*command, folder], check=True)


if __name__ == '__main__':
  main()
