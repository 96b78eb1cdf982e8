"""Scores of runs: at a number of frames, normalised, and of Crafter."""

import json
import math
import reprlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dreamer_nnx.errors import UserError
from experiments.jobs.numbers import finite

NORMALIZERS = Path(__file__).with_name('normalizers.json')
EPISODES, SUCCESS = 'crafter/episodes', 'crafter/success/'
# Of Crafter; a world with others is another game.
ACHIEVEMENTS = 22


def load_normalizer(name: str, file: str = '') -> dict[str, Any]:
  """Title, source, and low and high score of each task.

  Args:
    name: As in normalizers.json.
    file: Other numbers: JSON or YAML of {group: {task: [low, high]}}, where
      the names of groups and tasks may begin with that of the suite.

  Raises:
    UserError: The file is none, or has no such numbers.
  """
  known = json.loads(NORMALIZERS.read_text())[name]
  if not file:
    return known
  path = Path(file).expanduser()
  groups = _parsed(path)
  found = {}
  for group, tasks in groups.items():
    if str(group).startswith(name) and isinstance(tasks, Mapping):
      for task, pair in tasks.items():
        found[str(task).removeprefix(f'{name}_')] = _pair(path, task, pair)
  if not found:
    raise UserError(f'has no group {name!r}.', '--normalizers', file)
  return known | {'tasks': found, 'source': str(path)}


def _parsed(path: Path) -> Mapping[str, Any]:
  kind = 'JSON' if path.suffix == '.json' else 'YAML'
  load, broken = _reader(kind)
  try:
    found = load(path.read_text(encoding='utf-8'))
  except OSError as error:
    raise UserError(error.strerror, '--normalizers', str(path)) from error
  except (ValueError, RecursionError, *broken) as error:
    text = f'is no {kind}: {" ".join(str(error).split())}'
    raise UserError(text, '--normalizers', str(path)) from error
  if not isinstance(found, Mapping):
    text = 'must be {group: {task: [low, high]}}.'
    raise UserError(text, '--normalizers', str(path))
  return found


def _reader(
  kind: str,
) -> tuple[Callable[[str], Any], tuple[type[Exception], ...]]:
  """Reads a text of a kind, and its errors beside those of values."""
  if kind == 'JSON':
    return json.loads, ()
  try:
    import yaml
  except ModuleNotFoundError as error:
    text = 'YAML needs: pip install pyyaml'
    raise UserError(text, '--normalizers') from error
  return yaml.safe_load, (yaml.YAMLError,)


def _pair(path: Path, task: Any, pair: Any) -> tuple[float, float]:
  numbers = list(map(finite, pair)) if isinstance(pair, list | tuple) else []
  match numbers:
    case [float(low), float(high)] if low != high:
      if math.isfinite(high - low):
        return low, high
  raise UserError(
    f'{task} = {reprlib.repr(pair)}: must be two different numbers, '
    '[low, high].',
    '--normalizers',
    str(path),
  )


def normalize(score: Any, pair: Iterable[float]) -> Any:
  """0 at the low score of a pair and 1 at the high one."""
  low, high = pair
  return (score - low) / (high - low)


def success_rates(
  logs: Mapping[str, np.ndarray],
  frames: np.ndarray,
  counts: np.ndarray,
  end: float,
) -> dict[str, float]:
  """Share of the episodes up to `end` that unlock each achievement, 0 to 1.

  Args:
    logs: `crafter/success/NAME` in percent and `crafter/episodes`, both of the
      episodes since counting began, at the latest with the process, (N,).
    frames: At each of these, (N,).
    counts: Episodes since the line before, of any process, (N,).
  """
  episodes = logs.get(EPISODES, np.full(len(frames), np.nan))
  good = (frames <= end) & np.isfinite(episodes)
  episodes, counts = episodes[good], counts[good]
  if not len(episodes):
    return {}
  # Counting began anew where there are no more than since the line before:
  # the run was taken up by another process.
  anew = (episodes <= counts) | (episodes < np.append(0, episodes[:-1]))
  last = np.append(anew[1:], True) & (episodes > 0)
  rates = {}
  for name, percent in logs.items():
    if name.startswith(SUCCESS) and last.any():
      shares = np.nan_to_num(percent[good][last]) / 100
      rate = float(np.average(shares, weights=episodes[last]))
      rates[name.removeprefix(SUCCESS)] = rate
  return rates


def crafter_score(rates: Mapping[str, float]) -> float:
  """The Crafter score, exp(mean(ln(1 + s))) - 1 of success rates s in percent.

  Source: Hafner 2021, arXiv:2109.06780.
  """
  percent = 100 * np.array(list(rates.values()))
  return float(np.expm1(np.log1p(percent).mean()))
