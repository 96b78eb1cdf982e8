"""Times this checkout beside another one of this project: has it become slower?

  python -m experiments.benchmarks.pairs TREE SIZE KIND [--pairs=20]
    [--what=update,act,save,start_up]

Each has its own process, which runs this file with the modules of its checkout;
the two take turns, one call each, and which begins changes. Prints a JSON line
with medians, in seconds, and their ratio, TREE over this one:

  update     one
  act        the policy for one environment, results on the host; the median of
             ACTS calls
  save       that a save takes to begin, after SINCE steps came to a replay of
             STEPS, and latents of BATCHES batches
  committed  from its beginning to the checkpoint being complete
  start_up   from the start of a process to the end of its first update
"""

import argparse
import inspect
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parents[2]
ACTS, STEPS, SINCE, BATCHES, ENVS = 100, 20_000, 2_000, 20, 16


class Agent:
  """The agent that is timed, made by functions that both checkouts have."""

  def __init__(self, size: str, kind: str):
    from experiments.benchmarks.contender import Here

    flags = {'train.envs': ENVS, 'replay.chunked.capacity': 10 * STEPS}
    flags = [f'--config.{name}={value}' for name, value in flags.items()]
    self.here = Here(size, kind, flags)
    self.here.start()
    self.replay = self.checkpoints = None
    self.saves = 0

  def update(self) -> list[float]:
    return [timed(self.here.update)]

  def act(self) -> list[float]:
    return [statistics.median(timed(self.here.act) for _ in range(ACTS))]

  def save(self) -> list[float]:
    if self.checkpoints is None:
      self._open()
    self._add(SINCE)
    for _ in range(BATCHES):
      batch, handle = self.replay.sample()
      names = (k for k in batch if k.startswith('latent/'))
      entries = {k: batch[k][:, 1:] for k in names}
      # Earlier versions take priorities, or None, in place of signals.
      taken = inspect.signature(self.replay.update).parameters
      self.replay.update(handle, entries, {} if 'signals' in taken else None)
    self.saves += 1
    start = time.perf_counter()
    meta = {'replay': self.replay.save()}
    args = [self.saves, self.here.state, {}, meta]
    # Since files are written behind, a save waits for them.
    if hasattr(self.replay, 'wait'):
      args += [None, self.replay.wait]
    self.checkpoints.save(*args)
    begun = time.perf_counter() - start
    self.checkpoints.wait()
    return [begun, time.perf_counter() - start]

  def _open(self) -> None:
    import numpy as np

    from dreamer_nnx import workflow
    from dreamer_nnx.training.checkpoint import Checkpoints

    problem, learner = self.here.problem, self.here.learner
    folder = pathlib.Path(tempfile.mkdtemp())
    self.replay = workflow.make_replay(
      problem.config, *problem.spaces, learner, folder
    )
    self.checkpoints = Checkpoints(folder / 'checkpoints')
    kept = workflow.step_spaces(*problem.spaces, learner)
    rng = np.random.default_rng(0)
    random = lambda x: rng.integers(0, 2, (ENVS, *x.shape)).astype(x.dtype)
    self.step = {name: random(x) for name, x in kept.items()}
    self._add(STEPS)

  def _add(self, steps: int) -> None:
    for _ in range(steps // ENVS):
      self.replay.add(self.step)


def timed(call: Callable) -> float:
  import jax

  start = time.perf_counter()
  jax.block_until_ready(call())
  return time.perf_counter() - start


def serve(size: str, kind: str) -> None:
  """Answers each line of standard input with the seconds of what it names."""
  agent = Agent(size, kind)
  agent.update()
  print('ANSWER []', flush=True)
  for line in sys.stdin:
    print('ANSWER', json.dumps(getattr(agent, line.strip())()), flush=True)


class Process:
  """A checkout's agent, and the time until it had done its first update."""

  def __init__(self, tree: pathlib.Path, size: str, kind: str):
    start = time.perf_counter()
    self.process = subprocess.Popen(
      [sys.executable, __file__, '--serve', str(tree), size, kind],
      cwd=tree,
      env=os.environ | {'PYTHONPATH': str(tree)},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self._answer()
    self.start_up = time.perf_counter() - start

  def ask(self, what: str) -> list[float]:
    self.process.stdin.write(f'{what}\n')
    self.process.stdin.flush()
    return self._answer()

  def close(self) -> None:
    self.process.stdin.close()
    self.process.wait()

  def _answer(self) -> list[float]:
    for line in self.process.stdout:
      word, _, numbers = line.partition(' ')
      if word == 'ANSWER':
        return json.loads(numbers)
    raise ChildProcessError(f'{self.process.args} ended early.')


def turns(pair: list, call: Callable, count: int) -> list[list]:
  """Results of a call for each of the two, in turn, `count` times."""
  found: list[list] = [[], []]
  for index in range(count):
    for which in (0, 1) if index % 2 else (1, 0):
      found[which].append(call(pair[which]))
  return found


def ratio(other: list[float], here: list[float]) -> dict[str, float]:
  """Medians of both, and the ratio of these."""
  medians = [statistics.median(x) for x in (other, here)]
  return {
    'other': round(medians[0], 5),
    'here': round(medians[1], 5),
    'ratio': round(medians[0] / medians[1], 3),
  }


def started(tree: pathlib.Path, size: str, kind: str) -> float:
  process = Process(tree, size, kind)
  process.close()
  return process.start_up


def calls(trees: list, args: argparse.Namespace, asked: list[str]) -> dict:
  """Medians of what two processes are asked for."""
  found, pair = {}, [Process(tree, args.size, args.kind) for tree in trees]
  for what in asked:
    ask = lambda process, what=what: process.ask(what)
    turns(pair, ask, 2)
    both = turns(pair, ask, args.pairs)
    names = ('save', 'committed') if what == 'save' else (what,)
    for index, name in enumerate(names):
      found[name] = ratio(*([x[index] for x in times] for times in both))
  for process in pair:
    process.close()
  return found


def main(args: argparse.Namespace) -> None:
  trees = [args.tree.resolve(), ROOT]
  record: dict[str, object] = {'problem': f'{args.size} {args.kind}'}
  asked = args.what.split(',')
  if within := [what for what in asked if what != 'start_up']:
    record |= calls(trees, args, within)
  if 'start_up' in asked:
    start = lambda tree: started(tree, args.size, args.kind)
    record['start_up'] = ratio(*turns(trees, start, args.pairs))
  print(json.dumps(record))


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('tree', type=pathlib.Path)
  parser.add_argument('size')
  parser.add_argument('kind')
  parser.add_argument('--pairs', type=int, default=20)
  parser.add_argument('--what', default='update,act,save,start_up')
  parser.add_argument('--serve', action='store_true', help=argparse.SUPPRESS)
  given = parser.parse_args()
  if given.serve:
    # Modules are those of the checkout alone, not the folder of this file.
    sys.path.remove(str(pathlib.Path(__file__).parent))
    serve(given.size, given.kind)
  else:
    main(given)
