"""Measures saves of an agent with its replay, while updates go on.

  python -m experiments.benchmarks.saves [--kind=vector] [--size=1m]
    [--steps=10000,100000,1000000] [--storage=memory] [--folder=FOLDER]

Fills a replay with random steps, saves, and then, as training does, adds SINCE
steps, writes latents of as many batches back as `train_ratio` has them for, and
saves again, REPEATS times. Nothing is computed: state and latents are random,
and a batch is written back every PACE seconds. Prints a JSON line for each
number of steps, with medians of these saves:

  waited     seconds that training waits: to start a save, and for its copies
  committed  seconds from there to the checkpoint being complete
  bytes      of the replay's files that the save adds; `most` is what came and
             what changed, which is all that it may add
  filled     seconds and bytes of the first save, which has everything
"""

import argparse
import json
import pathlib
import statistics
import tempfile
import time

import numpy as np

from dreamer_nnx import contracts, workflow
from dreamer_nnx.replay.chunks import step_bytes
from dreamer_nnx.training.checkpoint import Checkpoints
from experiments.benchmarks.problem import Problem

SINCE, REPEATS, PACE, ENVS = 2_000, 5, 0.01, 16


class Run:
  """A replay and a state to be saved, in a workdir."""

  def __init__(self, args: argparse.Namespace, steps: int, workdir: str):
    flags = [
      f'--config.train.envs={ENVS}',
      f'--config.train.steps={2 * steps + 20 * SINCE}',
      f'--config.replay.chunked.storage={args.storage}',
      '--config.replay.chunked.online=False',
    ]
    problem = Problem(args.size, args.kind, flags)
    learner = problem.learner()
    self.options = problem.config.train
    self.state = learner.init(0)
    kept = workflow.step_spaces(*problem.spaces, learner)
    self.bytes = {
      kind: step_bytes(
        {k: v for k, v in kept.items() if k.startswith('latent/') == latent}
      )
      for kind, latent in (('data', False), ('latents', True))
    }
    path = pathlib.Path(workdir)
    self.replay: contracts.Replay = workflow.make_replay(
      problem.config, *problem.spaces, learner, path
    )
    self.checkpoints = Checkpoints(path / 'checkpoints', patience=0.0)
    self.folder = path / 'replay'
    rng = np.random.default_rng(0)
    random = lambda x: rng.integers(0, 2, (ENVS, *x.shape)).astype(x.dtype)
    self.step = {name: random(x) for name, x in kept.items()}
    self.saves = 0
    self.touched: list[np.ndarray] = []  # Rows, since the last save.
    self.add(steps)

  def add(self, steps: int) -> None:
    for _ in range(steps // ENVS):
      self.replay.add(self.step)

  def update(self) -> None:
    """Writes the latents of a batch back."""
    batch, handle = self.replay.sample()
    length = self.options.batch_length
    latents = {
      k: v[:, -length:] for k, v in batch.items() if k.startswith('latent/')
    }
    self.replay.update(handle, latents, {})
    self.touched.append(handle.rows.ravel())

  def save(self) -> float:
    """Starts a save; seconds."""
    start = time.perf_counter()
    self.saves += 1
    meta = {'replay': self.replay.save()}
    self.checkpoints.save(
      self.saves, self.state, {}, meta, None, self.replay.wait
    )
    return time.perf_counter() - start

  def stored(self) -> int:
    files = (path for path in self.folder.iterdir() if path.is_file())
    return sum(path.stat().st_size for path in files)

  def one(self) -> dict[str, float]:
    """One save, of what came since the last; updates go on meanwhile."""
    self.add(SINCE)
    train = self.options
    batch = train.batch_size * train.batch_length
    for _ in range(int(SINCE * train.train_ratio / batch)):
      self.update()
    rows = np.unique(np.concatenate(self.touched)).size
    self.touched.clear()
    before, start = self.stored(), time.perf_counter()
    self.replay.stats()
    waited = self.save()
    while self.checkpoints.slow():
      self.update()
      time.sleep(PACE)
    committed = time.perf_counter() - start
    most = SINCE * sum(self.bytes.values()) + rows * self.bytes['latents']
    waited += self.replay.stats()['save_waited']
    return {
      'waited': waited,
      'committed': committed,
      'bytes': self.stored() - before,
      'most': most,
    }


def measure(args: argparse.Namespace, steps: int) -> dict:
  with tempfile.TemporaryDirectory(dir=args.folder) as workdir:
    run = Run(args, steps, workdir)
    start = time.perf_counter()
    run.save()
    run.checkpoints.wait()
    filled = [round(time.perf_counter() - start, 2), run.stored()]
    saves = [run.one() for _ in range(REPEATS)]
    run.checkpoints.close()
  medians = {
    key: round(statistics.median(save[key] for save in saves), 4)
    for key in saves[0]
  }
  state = sum(x.nbytes for k, x in run.state.items() if k != 'key')
  sizes = {'step_bytes': run.bytes, 'state_bytes': state}
  return {'steps': steps} | medians | {'filled': filled} | sizes


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--kind', default='vector')
  parser.add_argument('--size', default='1m')
  parser.add_argument('--steps', default='10000,100000,1000000')
  parser.add_argument('--storage', default='memory')
  parser.add_argument('--folder', default=None)
  args = parser.parse_args()
  for steps in args.steps.split(','):
    print(json.dumps(measure(args, int(steps))), flush=True)


if __name__ == '__main__':
  main()
