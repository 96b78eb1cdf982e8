"""Reads the logs of a run."""

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dreamer_nnx.registry import branch
from dreamer_nnx.report.logs import BEGINNINGS
from experiments.jobs.numbers import finite

METRICS, EVALUATIONS = 'metrics.jsonl', 'evaluations.jsonl'
CONFIG, STARTS = 'config.json', 'run.json'
GREEDY = ', greedy'
STEPS, COUNT, RETURN = 'env_steps', 'episode/count', 'eval/return'
# Without the updates before the first action; steps of the simulator.
ACTED, FRAMES = 'offline/env_steps', 'frames'
ELAPSED = 'time/elapsed'
# No run of ours is longer.
LARGEST = 2**53
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
    last: Frames that it is at, by the last line of the log.
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
  lines = valid_lines(lines, begins(workdir, config))
  found = list(valid_episodes(lines))
  episodes = [numbers(line) for line in found]
  column = lambda name: np.array([x.get(name, np.nan) for x in episodes], float)
  names = {x for line in episodes for x in line if LOGGED.match(x)}
  return Run(
    task=task,
    seed=int(workdir.name),
    frames=np.array([frames_of(line, repeat) for line in found], float),
    returns=column('episode/return'),
    counts=column(COUNT),
    last=max((frames_of(line, repeat) for line in acted(lines)), default=0),
    logs={name: column(name) for name in sorted(names)},
    greedy=last_greedy(evaluations),
    config=config,
    problems=problems,
  )


def valid_lines(
  lines: Sequence[dict[str, Any]], starts: Sequence[int] = ()
) -> list[dict[str, Any]]:
  """Lines of the run as it went on, without those that it went back behind.

  A process says in the log where it goes on. Logs of older versions do not:
  there one has begun where steps or times fall, at one of `starts`, or at the
  step of the line itself.

  Args:
    starts: Steps at which processes after the first began.
  """
  kept: list[dict[str, Any]] = []
  elapsed = -math.inf
  for line in lines:
    step, time = line[STEPS], finite(line.get(ELAPSED))
    fell = time is not None and time < elapsed
    if not BEGINNINGS.isdisjoint(line):
      begin = step
    elif fell or (kept and step < kept[-1][STEPS]):
      begin = max((x for x in starts if x <= step), default=step)
    else:
      begin, time = LARGEST, elapsed if time is None else time
    elapsed = -math.inf if time is None else time
    while kept and kept[-1][STEPS] > begin:
      kept.pop()
    kept.append(line)
  return kept


def valid_episodes(
  lines: Sequence[dict[str, Any]],
) -> Iterator[dict[str, Any]]:
  """Lines of `valid_lines` that have episodes, the last of each step."""
  last = {line[STEPS]: line for line in lines if COUNT in line}
  for line in last.values():
    found = numbers(line)
    if found.get(COUNT, 0) > 0 and 'episode/return' in found:
      yield line


def numbers(line: dict[str, Any]) -> dict[str, float]:
  """The finite numbers of a line."""
  found = {name: finite(value) for name, value in line.items()}
  return {name: x for name, x in found.items() if x is not None}


def acted(lines: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
  """The lines that tell environment steps by themselves.

  Where updates came before the first action, not all do.
  """
  return [line for line in lines if ACTED in line] or lines


def steps_of(line: dict[str, Any]) -> int:
  """Environment steps of a line, without updates before the first action."""
  return int(line.get(ACTED, line[STEPS]))


def frames_of(line: dict[str, Any], repeat: int) -> int:
  """Frames of a line, from its steps where the environment tells none."""
  if FRAMES in line and ACTED not in line:
    return int(line[FRAMES])
  return repeat * steps_of(line)


def repeat_of(config: dict[str, Any]) -> int:
  """Frames of an environment step."""
  return int(config.get(repeat_path(config), 1))


def repeat_path(config: dict[str, Any]) -> str:
  return f'env.{branch(str(config.get("env.name")))}.repeat'


def begins(workdir: Path, config: dict[str, Any]) -> list[int]:
  """Steps at which later processes of a run began, as far as they are known.

  They are not on the axis of the log if updates came before the first action.
  """
  try:
    found = decoded((workdir / STARTS).read_bytes())
  except FileNotFoundError:
    return []
  if not isinstance(found, list) or config.get('train.offline'):
    return []
  steps = [x.get(STEPS) for x in found[1:] if isinstance(x, dict)]
  return [x for x in steps if counted(x)]


def last_greedy(lines: list[dict[str, Any]]) -> float:
  """Mean return of the last evaluation of the greedy policy, or NaN."""
  found = [x for line in lines if greedy(line) for x in returned(line)]
  return found[-1] if found else math.nan


def greedy(line: dict[str, Any]) -> bool:
  """Tells whether an evaluation is of the greedy policy."""
  policy = line.get('policy')
  return isinstance(policy, str) and policy.endswith(GREEDY)


def returned(line: dict[str, Any]) -> list[float]:
  """The mean return of an evaluation, if it has one."""
  value = finite(line.get(RETURN))
  return [] if value is None else [value]


def read_lines(file: Path) -> tuple[list[dict[str, Any]], int]:
  """Reads lines of JSON; returns those with sound counters, and other ones."""
  try:
    text = file.read_text(encoding='utf-8', errors='replace')
  except FileNotFoundError:
    return [], 0
  texts = list(filter(str.strip, text.split('\n')))
  lines = [line for line in map(decoded, texts) if sound(line)]
  return lines, len(texts) - len(lines)


def sound(line: Any) -> bool:
  """Tells whether this is a line of a log, whose counters are such.

  A return that is not finite is null in it.
  """
  return (
    isinstance(line, dict)
    and isinstance(line.get(STEPS), int)
    and all(counted(line[x]) for x in (STEPS, ACTED, FRAMES) if x in line)
    and (line.get(RETURN) is None or finite(line[RETURN]) is not None)
  )


def counted(value: Any) -> bool:
  """Tells whether this is a whole number that can be a count."""
  number = finite(value)
  return number is not None and 0 <= number < LARGEST and number.is_integer()


def read_config(workdir: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
  """Leaves of a run's config by path, and what was wrong with the file."""
  instead = 'so a step counts as one frame'
  try:
    found = decoded((workdir / CONFIG).read_bytes())
    config = dict(leaves(found)) if isinstance(found, dict) else None
  except FileNotFoundError:
    return {}, (f'there is no {CONFIG}, {instead}',)
  except RecursionError:
    config = None
  if config is None:
    return {}, (f'{CONFIG} is unreadable, {instead}',)
  path = repeat_path(config)
  if not counted(repeat := config.get(path, 1)) or repeat < 1:
    del config[path]
    return config, (f'config.{path} is no number of frames, {instead}',)
  return config, ()


def decoded(text: str | bytes) -> Any:
  """The value of a text of JSON; None if it is none."""
  try:
    return json.loads(text)
  except (ValueError, RecursionError):
    return None


def leaves(tree: dict[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
  """Paths and values of a nested dict."""
  for name, value in tree.items():
    if isinstance(value, dict) and value:
      yield from leaves(value, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}', value
