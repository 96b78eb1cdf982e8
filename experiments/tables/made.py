"""Synthetic runs and published scores for the tests."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


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
