"""Workdirs that are written for tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np

CONFIG = {
  'seed': 0,
  'plugins': [],
  'dynamics': {
    'name': 'rssm',
    'rssm': {
      'free_nats': 1.0,
      'stochastic': {
        'name': 'categorical',
        'categorical': {'stoch': 8, 'classes': 8},
      },
    },
  },
  'env': {'name': 'gymnasium', 'gymnasium': {'id': 'Some-v1', 'repeat': 1}},
  'optimizer': {'name': 'dreamer', 'dreamer': {'lr': 4e-5}},
  'train': {'steps': 1000},
}
GIF = b'GIF89a' + bytes(20)


def config(**changes: Any) -> dict[str, Any]:
  """A config; `changes` name fields, `__` for dots."""
  made = json.loads(json.dumps(CONFIG))
  for name, value in changes.items():
    node, *path = made, *name.split('__')
    for key in path[:-1]:
      node = node[key]
    node[path[-1]] = value
  return made


def lines(count: int, offset: float = 0.0, repeat: int = 1) -> list[dict]:
  """Lines of a log whose returns grow by one a line."""
  return [
    {
      'env_steps': 10 * i,
      'frames': 10 * i * repeat,
      'time/elapsed': 36.0 * i,
      'episode/return': i + offset,
      'episode/count': 2.0,
      'train/loss/dyn': 3.0,
      'train/rep_ent': 4.0,
      'train/opt/loss': 5.0 + 1 / i,
    }
    for i in range(1, count + 1)
  ]


def evaluation(step: int, value: float, policy: str = 'trained, greedy'):
  """A line of evaluations."""
  values = {'eval/return': value, 'eval/stderr': 0.5, 'returns': [value]}
  return {'env_steps': step, 'frames': step, 'policy': policy} | values


def write(
  path: Path,
  log: list[dict] | None = None,
  evaluations: list[dict] | None = None,
  settings: dict[str, Any] | None = None,
) -> Path:
  """Writes a workdir; what is not given has no file."""
  path.mkdir(parents=True, exist_ok=True)
  if log is not None:
    write_lines(path / 'metrics.jsonl', log)
  if evaluations is not None:
    write_lines(path / 'evaluations.jsonl', evaluations)
  if settings is not None:
    (path / 'config.json').write_text(json.dumps(settings))
  return path


def write_lines(path: Path, values: list[dict]) -> None:
  path.write_text(''.join(json.dumps(value) + '\n' for value in values))


def seeds(root: Path, count: int, **changes: Any) -> list[Path]:
  """Workdirs of runs that differ in the seed and in their returns."""
  return [
    write(root / f'seed_{i}', lines(100, i), None, config(seed=i, **changes))
    for i in range(count)
  ]


def noisy(count: int) -> np.ndarray:
  """Values whose lowest and highest are somewhere in the middle."""
  values = np.random.default_rng(0).normal(size=count)
  values[count // 3], values[count // 2] = -50, 70
  return values
