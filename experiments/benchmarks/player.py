"""Times the player: frames a second that it imagines, decodes and hands over.

  python -m experiments.benchmarks.player [WORKDIR]

The agent is that of a workdir, or by default that of the demo as it was
initialised. Answers what the page of `--mode=play` asks for, as JSON, for ten
seconds of the policy's own play, beside the real environment; without the
network and the browser, and after what compiles. Prints one JSON line:

  frames   a second
  median   ms of a frame
  slow     ms of a frame, 95th percentile
"""

import json
import pathlib
import sys
import tempfile
import time

import numpy as np

from dreamer_nnx import Run, load_config, load_world_model
from dreamer_nnx.play.moments import open_moments
from dreamer_nnx.play.session import Session

SECONDS, FIRST = 10.0, 5
STEP = {'do': 'step', 'by': 'greedy'}


def write(folder: pathlib.Path) -> pathlib.Path:
  """Makes a workdir with a checkpoint of a demo that was never updated."""
  changes = {'train.steps': 4, 'loggers.names': ()}
  with Run(load_config('demo', changes), folder) as run:
    run.train(evaluate=False)
  return folder


def measure(workdir: pathlib.Path) -> dict[str, float]:
  """Plays, and times each frame."""
  model = load_world_model(str(workdir))
  with open_moments(model.trained, False) as moments:
    session = Session(model, moments)
    session.answer({'do': 'reset', 'from': 'episode'})
    times = []
    for _ in range(FIRST):
      session.answer(STEP)
    began = time.perf_counter()
    while time.perf_counter() - began < SECONDS:
      start = time.perf_counter()
      json.dumps(session.answer(STEP))
      times.append(1e3 * (time.perf_counter() - start))
    passed = time.perf_counter() - began
  return {
    'frames': len(times) / passed,
    'median': float(np.median(times)),
    'slow': float(np.quantile(times, 0.95)),
  }


def main() -> None:
  if named := sys.argv[1:]:
    print(json.dumps(measure(pathlib.Path(named[0]))))
    return
  with tempfile.TemporaryDirectory() as folder:
    print(json.dumps(measure(write(pathlib.Path(folder) / 'run'))))


if __name__ == '__main__':
  main()
