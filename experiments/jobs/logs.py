"""Reads the logs of a run."""

import dataclasses
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

METRICS, EVALUATIONS = 'metrics.jsonl', 'evaluations.jsonl'
CONFIG = 'config.json'
GREEDY = ', greedy'
# Metrics that an environment gives.
LOGGED = re.compile(r'episode/log/|crafter/')


@dataclasses.dataclass(frozen=True)
class Run:
  """The episodes of one run, in means of those between two lines of its log.

  Args:
    frames: Simulated steps at the end of each mean, (N,): as logged, or
      environment steps times the action repeat.
    returns: Mean return of the training episodes that ended in between, (N,).
    counts: How many these are, (N,).
    last: Frames at the last line of the log.
    logs: Metrics that the environment gives by name, (N,); NaN where a
      line does not have them.
    greedy: Mean return of the last evaluation with greedy actions; NaN if
      there was none.
    config: Leaves of the config by path.
    problems: What was wrong with its files, in words.
  """

  task: str
  seed: int
  frames: np.ndarray
  returns: np.ndarray
  counts: np.ndarray
  last: float
  logs: dict[str, np.ndarray]
  greedy: float
  config: dict[str, Any]
  problems: tuple[str, ...] = ()


def read(workdir: Path, task: str) -> Run:
  """Reads the run of a workdir, whose name is the seed."""
  config, problems = read_config(workdir)
  lines, broken = read_lines(workdir / METRICS)
  evaluations, torn = read_lines(workdir / EVALUATIONS)
  for file, count in ((METRICS, broken), (EVALUATIONS, torn)):
    if count:
      problems += (f'{count} unreadable lines of {file} were left out',)
  repeat = repeat_of(config)
  episodes = [x | {'at': frames_of(x, repeat)} for x in valid_episodes(lines)]
  column = lambda name: np.array([x.get(name, np.nan) for x in episodes], float)
  names = {x for line in episodes for x in line if LOGGED.match(x)}
  return Run(
    task=task,
    seed=int(workdir.name),
    frames=column('at'),
    returns=column('episode/return'),
    counts=column('episode/count'),
    last=max((frames_of(line, repeat) for line in lines), default=0),
    logs={name: column(name) for name in sorted(names)},
    greedy=last_greedy(evaluations),
    config=config,
    problems=problems,
  )


def valid_episodes(lines: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
  """Lines that have episodes, without those that a resumed run repeated.

  Of the lines of one number of steps, and of all with a larger one before a
  line, the later hold.
  """
  kept: list[dict[str, Any]] = []
  for line in lines:
    if 'episode/count' not in line:
      continue
    line = numbers(line) | {'steps': steps_of(line)}
    while kept and kept[-1]['steps'] >= line['steps']:
      kept.pop()
    kept.append(line)
  for line in kept:
    if line.get('episode/count', 0) > 0 and 'episode/return' in line:
      yield line


def numbers(line: dict[str, Any]) -> dict[str, float]:
  """The finite numbers of a line."""
  return {
    name: value
    for name, value in line.items()
    if isinstance(value, int | float) and math.isfinite(value)
  }


def steps_of(line: dict[str, Any]) -> int:
  """Environment steps of a line, without updates before the first action."""
  return int(line.get('offline/env_steps', line['env_steps']))


def frames_of(line: dict[str, Any], repeat: int) -> int:
  """Frames of a line, from its steps where the environment tells none."""
  if 'frames' in line and 'offline/env_steps' not in line:
    return int(line['frames'])
  return repeat * int(line.get('steps', steps_of(line)))


def repeat_of(config: dict[str, Any]) -> int:
  """Frames of an environment step."""
  name = config.get('env.name', '')
  return int(config.get(f'env.{name}.repeat', 1))


def last_greedy(lines: list[dict[str, Any]]) -> float:
  """Mean return of the last evaluation of the greedy policy, or NaN."""
  found = [
    line['eval/return']
    for line in lines
    if str(line.get('policy', '')).endswith(GREEDY) and 'eval/return' in line
  ]
  return float(found[-1]) if found else math.nan


def read_lines(file: Path) -> tuple[list[dict[str, Any]], int]:
  """Reads lines of JSON; returns those with steps, and how many are none."""
  try:
    text = file.read_text(encoding='utf-8', errors='replace')
  except FileNotFoundError:
    return [], 0
  lines, broken = [], 0
  for line in filter(str.strip, text.split('\n')):
    try:
      value = json.loads(line)
    except ValueError:
      value = None
    good = isinstance(value, dict)
    if good and isinstance(value.get('env_steps'), int):
      lines.append(value)
    else:
      broken += 1
  return lines, broken


def read_config(workdir: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
  """Leaves of a run's config by path, and what was wrong with the file."""
  try:
    found = json.loads((workdir / CONFIG).read_bytes())
  except FileNotFoundError:
    return {}, (f'there is no {CONFIG}, so a step counts as one frame',)
  except ValueError:
    found = None
  if not isinstance(found, dict):
    return {}, (f'{CONFIG} is unreadable, so a step counts as one frame',)
  return dict(leaves(found)), ()


def leaves(tree: dict[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
  """Paths and values of a nested dict."""
  for name, value in tree.items():
    if isinstance(value, dict) and value:
      yield from leaves(value, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}', value
