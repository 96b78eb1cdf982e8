"""Synthetic runs, jobs and published scores for the tests."""

import gzip
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.tables.launching import Job

# Saves what it has when it is told to end, and goes on from there.
COUNTER = """
import pathlib, signal, sys, time
file, end = pathlib.Path(sys.argv[1]), int(sys.argv[2])
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
count = int(file.read_text()) if file.exists() else 0
while count < end and not asked:
  count += 1
  print('at', count, flush=True)
  time.sleep(0.02)
file.write_text(str(count))
sys.exit(75 if count < end else 0)
"""


def write_run(
  root: Path,
  suite: str,
  task: str,
  seed: int,
  lines: Sequence[Mapping[str, Any] | str],
  env: str = 'atari',
  repeat: int = 4,
  **config: Any,
) -> Path:
  """Writes the logs of a run; a line that is a text is written as it is."""
  workdir = root / suite / task.replace('/', '-') / str(seed)
  workdir.mkdir(parents=True)
  fields = {'env': {'name': env, env: {'repeat': repeat}}, 'seed': seed}
  (workdir / 'config.json').write_text(json.dumps(fields | config))
  text = [x if isinstance(x, str) else json.dumps(x) for x in lines]
  (workdir / 'metrics.jsonl').write_text('\n'.join(text) + '\n')
  return workdir


def line(
  steps: int, value: float, count: int = 1, **success: float
) -> dict[str, float]:
  """A line of a log; `success` are percentages of achievements."""
  percent = {f'crafter/success/{k}': x for k, x in success.items()}
  percent |= {'crafter/episodes': float(count)} if success else {}
  episodes = {'episode/return': value, 'episode/count': float(count)}
  return {'env_steps': steps} | episodes | percent


def write_published(
  folder: Path, name: str, records: Sequence[Mapping[str, Any]]
) -> None:
  """Writes a file of published scores."""
  folder.mkdir(parents=True, exist_ok=True)
  data = gzip.compress(json.dumps(list(records)).encode())
  (folder / f'{name}.json.gz').write_bytes(data)


def counter(folder: Path, name: str, end: int) -> Job:
  """A job that counts up to an end, and goes on where it was stopped."""
  file = folder / f'{name}.txt'
  return Job(
    name,
    [sys.executable, '-c', COUNTER, str(file), str(end)],
    folder / f'{name}.log',
    lambda: file.exists() and int(file.read_text()) >= end,
  )
