"""The report of a table: rows, aggregates, and what is missing."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dreamer_nnx.report import statistics
from dreamer_nnx.report.statistics import Interval
from experiments.jobs.logs import Run
from experiments.jobs.numbers import window_mean
from experiments.tables import scores
from experiments.tables.published import Curve
from experiments.tables.suites import Suite

RETURN = 'Return'


@dataclasses.dataclass(frozen=True)
class Row:
  """The scores of a task.

  Args:
    frames: At which these are.
    runs: Score of each seed.
    greedy: Of each seed, its last greedy evaluation; may be NaN.
    published: By method, the score of each of its runs at as many frames.
  """

  task: str
  frames: float
  runs: dict[int, float]
  greedy: tuple[float, ...]
  published: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Report:
  """All of a table.

  Args:
    title: Of the scores that are aggregated.
    aggregates: By ours (`''`) or a method, by name; empty for a single task.
    crafter: The Crafter score of the runs, and the success rates, if any.
  """

  suite: str
  rows: list[Row]
  title: str
  source: str
  aggregates: dict[str, dict[str, Interval]]
  crafter: tuple[Interval, dict[str, float]] | None
  notes: list[str]


def make(
  name: str,
  suite: Suite,
  tasks: Sequence[str],
  seeds: int,
  runs: Sequence[Run],
  published: Mapping[str, Sequence[Curve]],
  normalizer: Mapping[str, Any],
  budget: float,
  window: float,
) -> Report:
  """Makes the report of some runs.

  Args:
    seeds: How many runs each task should have.
    published: Curves by method.
    normalizer: As `scores.load_normalizer` returns it; empty for none.
    budget: Frames at which scores are, or the fewest that a run of the task
      has; 0 for those.
    window: Share of these frames whose episodes count.
  """
  notes = [
    *missing(tasks, seeds, runs),
    *faults(runs),
    *differences(runs, suite),
  ]
  rows = []
  for task in tasks:
    own = [run for run in runs if run.task == task and len(run.frames)]
    if own:
      rows.append(make_row(task, own, published, budget, window))
  notes += unfinished(rows, runs, budget)
  crafter = None
  if suite.score == 'crafter' and rows:
    crafter, more = crafter_of(runs, rows[0].frames)
    notes += more
  pairs = normalizer.get('tasks', {})
  found, more = {}, []
  if normalizer or suite.alike:
    found, more = aggregated(rows, pairs, bool(normalizer))
  title = normalizer.get('title', RETURN)
  source = normalizer.get('source', '')
  return Report(name, rows, title, source, found, crafter, notes + more)


def make_row(
  task: str,
  own: Sequence[Run],
  published: Mapping[str, Sequence[Curve]],
  budget: float,
  window: float,
) -> Row:
  end = min(run.last for run in own)
  end = min(end, budget) if budget else end
  score = lambda frames, returns, counts: window_mean(
    frames, returns, counts, end, window
  )
  beside = {}
  for method, curves in published.items():
    values = [
      score(curve.frames, curve.returns, np.ones_like(curve.frames))
      for curve in curves
      if curve.task == task
    ]
    values = np.array(values)
    if len(values := values[np.isfinite(values)]):
      beside[method] = values
  values = {r.seed: score(r.frames, r.returns, r.counts) for r in own}
  kept = {seed: x for seed, x in values.items() if math.isfinite(x)}
  return Row(task, end, kept, tuple(run.greedy for run in own), beside)


def aggregated(
  rows: Sequence[Row], pairs: Mapping[str, Iterable[float]], normalized: bool
) -> tuple[dict[str, dict[str, Interval]], list[str]]:
  """Aggregates of our runs and of each method, over tasks that both have."""
  notes = []
  unknown = [row.task for row in rows if normalized and row.task not in pairs]
  if unknown:
    notes.append(
      f'Not in the aggregates, for want of normalisers: {", ".join(unknown)}.'
    )
  rows = [row for row in rows if row.runs and row.task not in unknown]
  if len(rows) < 2:
    return {}, notes
  scaled = lambda row, values: (
    scores.normalize(values, pairs[row.task]) if normalized else values
  )
  own = {r.task: scaled(r, np.array(list(r.runs.values()))) for r in rows}
  found = {'': statistics.intervals(list(own.values()))}
  for method in dict.fromkeys(m for row in rows for m in row.published):
    theirs = [
      scaled(row, row.published[method])
      for row in rows
      if method in row.published
    ]
    if len(theirs) < len(rows):
      notes.append(
        f'{method} has {len(theirs)} of these {len(rows)} tasks, so it is not '
        'aggregated.'
      )
      continue
    found[method] = statistics.intervals(theirs)
  return found, notes


def crafter_of(
  runs: Sequence[Run], end: float
) -> tuple[tuple[Interval, dict[str, float]] | None, list[str]]:
  """Crafter score over runs, with the mean success rates."""
  rates, notes = [], []
  for run in runs:
    found = scores.success_rates(run.logs, run.frames, run.counts, end)
    if len(found) == scores.ACHIEVEMENTS:
      rates.append(found)
    else:
      notes.append(
        f'{run.task}, seed {run.seed}: no Crafter score: it logs {len(found)} '
        f'of {scores.ACHIEVEMENTS} achievements.'
      )
  if not rates:
    return None, notes
  each = np.array([scores.crafter_score(x) for x in rates])
  interval = statistics.intervals([each])['mean']
  means = {name: float(np.mean([x[name] for x in rates])) for name in rates[0]}
  return (interval, means), notes


def missing(tasks: Sequence[str], seeds: int, runs: Sequence[Run]) -> list[str]:
  """Says which tasks and seeds have no runs."""
  there = defaultdict(set)
  for run in runs:
    there[run.task].add(run.seed)
  absent = [task for task in tasks if task not in there]
  notes = []
  if absent:
    count = f'{len(absent)} of {len(tasks)} tasks'
    notes.append(f'No runs of {count}: {", ".join(absent)}.')
  lacking = defaultdict(list)
  for task, found in there.items():
    lacking[tuple(sorted(set(range(seeds)) - found))].append(task)
  for numbers, names in lacking.items():
    if numbers:
      which = ', '.join(map(str, numbers))
      notes.append(f'No run of seed {which} of {", ".join(names)}.')
  return notes


def faults(runs: Sequence[Run]) -> list[str]:
  """Says what is wrong with files, and which runs have no episode."""
  notes = []
  for run in runs:
    place = f'{run.task}, seed {run.seed}'
    notes += [f'{place}: {problem}.' for problem in run.problems]
    if not len(run.frames):
      notes.append(f'{place}: no episode has ended yet, so it is left out.')
  return notes


def unfinished(
  rows: Sequence[Row], runs: Sequence[Run], budget: float
) -> list[str]:
  """Says where runs have fewer frames than they should, or none to compare."""
  short, notes = [], []
  for row in rows:
    own = [run for run in runs if run.task == row.task and len(run.frames)]
    if row.frames < budget:
      last = min(own, key=lambda run: run.last)
      short.append(f'{row.task} at {row.frames:,.0f} (seed {last.seed})')
    notes += [
      f'{row.task}, seed {run.seed}: no episode up to {row.frames:,.0f} frames.'
      for run in own
      if run.seed not in row.runs
    ]
  if short:
    notes.append(
      f'Not at {budget:,.0f} frames, but where the shortest run of the task '
      f'is: {", ".join(short)}.'
    )
  return notes


def differences(runs: Sequence[Run], suite: Suite) -> list[str]:
  """Says which fields of the configs differ, where both runs have them."""
  own = {'seed', suite.field}
  values: dict[str, dict[str, list[str]]] = defaultdict(
    lambda: defaultdict(list)
  )
  for run in runs:
    for path, value in run.config.items():
      if path not in own:
        values[path][repr(value)].append(f'{run.task} {run.seed}')
  notes = []
  for path, by_value in values.items():
    if len(by_value) > 1:
      groups = '; '.join(
        f'{value} in {_some(names)}' for value, names in by_value.items()
      )
      notes.append(f'Runs of different configs: config.{path} = {groups}.')
  return notes


def _some(names: Sequence[str], limit: int = 3) -> str:
  """The first few names, and how many more."""
  rest = len(names) - limit
  text = ', '.join(names[:limit])
  return f'{text} and {rest} more' if rest > 0 else text
