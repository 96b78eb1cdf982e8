"""Makes the table of a suite's runs, beside the published scores.

  python -m experiments.tables.table --suite=atari100k --root=runs/tables \
    [--reference=PATH/scores] [--output=FOLDER]
"""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dreamer_nnx import paths
from dreamer_nnx.errors import UserError
from dreamer_nnx.report.statistics import Interval
from experiments.jobs import runs
from experiments.jobs.numbers import DASH, markdown, short
from experiments.tables import (
  figure,
  folders,
  published,
  report,
  scores,
  suites,
)
from experiments.tables.report import Report

OURS = 'ours'
FORMATS = ('png', 'svg')
# The reference draws thirty points of a run, and reports the last.
WINDOW = 1 / 30


def main(argv: Sequence[str]) -> int:
  """Prints the table; with --output writes it, its numbers and the curves."""
  options = parsed(argv)
  return runs.status_of(lambda: print(run(options)) or 0)


def parsed(argv: Sequence[str]) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    'experiments.tables.table', allow_abbrev=False
  )
  add = parser.add_argument
  add('--suite', required=True, help=', '.join(suites.SUITES))
  add('--root', required=True, help='as for experiments.tables.run')
  add('--tasks', default='', help='with commas; by default all of the suite')
  add('--seeds', type=int, default=5, help='how many there should be')
  add('--reference', default='', help='folder `scores` of danijar/dreamerv3')
  add('--methods', help=f'of it, with commas, or all; or {published.METHOD}')
  add('--normalizers', default='', help='a file of other numbers')
  add('--frames', type=float, help="score at these, not at the suite's budget")
  add('--window', type=float, default=WINDOW, help='share of frames averaged')
  add('--output', default='', help='folder for table.md, scores.json, curves')
  add('--format', choices=FORMATS, help=f'of the curves, or {FORMATS[0]}')
  return parser.parse_args(argv)


def run(options: argparse.Namespace) -> str:
  """Reads, computes and writes; returns the text to print.

  Raises:
    UserError: What is asked for is not there.
  """
  name, suite = suites.find(options.suite)
  root = check(options, suite)
  tasks = suites.choose(name, suite, options.tasks)
  if suite.open and not options.tasks:
    tasks += unknown_tasks(root, name, suite)
  found = folders.read_all(root, name, tasks)
  curves = {}
  if options.reference:
    methods = options.methods or published.METHOD
    curves = published.read(options.reference, name, suite.prefix, methods)
  normalizer: dict[str, Any] = {}
  if suite.normalizer:
    normalizer = scores.load_normalizer(suite.normalizer, options.normalizers)
  budget = suite.budget if options.frames is None else options.frames
  made = report.make(
    name,
    suite,
    tasks,
    options.seeds,
    found,
    curves,
    normalizer,
    budget,
    options.window,
  )
  text = page(made)
  if options.output:
    folder = Path(options.output).expanduser()
    form = options.format or FORMATS[0]
    text += write(folder, made, text, figure.Lines(found, curves), form)
  return text


def check(options: argparse.Namespace, suite: suites.Suite) -> Path:
  """Refuses what is out of range, or without effect; returns the root."""
  if not 0 < options.window <= 1:
    text = 'must be above 0 and at most 1.'
    raise UserError(text, '--window', options.window)
  if options.seeds < 1:
    raise UserError('must be at least 1.', '--seeds', options.seeds)
  if options.frames is not None and not 0 < options.frames < math.inf:
    raise UserError('must be above 0.', '--frames', options.frames)
  for flag, needed in (('methods', 'reference'), ('format', 'output')):
    got = getattr(options, flag)
    if got is not None and not getattr(options, needed):
      raise UserError(f'needs --{needed}.', f'--{flag}', got)
  if options.normalizers and not suite.normalizer:
    text = f'{options.suite} has no normalisers. Leave it out.'
    raise UserError(text, '--normalizers', options.normalizers)
  for flag in ('reference', 'output'):
    runs.folder_of(getattr(options, flag), f'--{flag}')
  root = runs.root_of(options.root)
  if not root.is_dir():
    raise UserError('there is no such folder.', '--root', options.root)
  return root


def unknown_tasks(
  root: Path, name: str, suite: suites.Suite
) -> tuple[str, ...]:
  """Tasks of an open suite that were run beside those of its list."""
  known = {folders.folder_of(task) for task in suite.tasks}
  found = folders.tasks_in(root, name, suite.field)
  return tuple(x for x in found if folders.folder_of(x) not in known)


def write(
  folder: Path, made: Report, text: str, lines: figure.Lines, form: str
) -> str:
  """Writes table.md, scores.json and the curves; says so."""
  folder.mkdir(parents=True, exist_ok=True)
  paths.write(folder / 'table.md', f'{text}\n'.encode())
  numbers = json.dumps(as_json(dataclasses.asdict(made)), indent=2)
  paths.write(folder / 'scores.json', f'{numbers}\n'.encode())
  curves = figure.draw(lines, folder / f'curves.{form}')
  return f'\nWrote {folder}/table.md and scores.json. {curves}'


def as_json(value: Any) -> Any:
  """Plain lists and numbers, None for one that is not finite."""
  if isinstance(value, dict):
    return {str(key): as_json(x) for key, x in value.items()}
  if isinstance(value, list | tuple):
    return [as_json(x) for x in value]
  if isinstance(value, np.ndarray):
    return as_json(value.tolist())
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


def page(made: Report) -> str:
  """The text of the report, in Markdown."""
  methods = list(dict.fromkeys(m for r in made.rows for m in r.published))
  parts = [f'# {made.suite}']
  if made.rows:
    headings = ('task', 'frames', 'runs', OURS, 'greedy')
    parts.append(markdown((*headings, *methods), task_rows(made, methods)))
    parts.append(
      'Mean return of the last training episodes, ± standard deviation over '
      'runs; greedy: of the last evaluation of each run.'
    )
  if made.aggregates:
    names = [name or OURS for name in made.aggregates]
    parts.append(f'## {made.title} scores')
    parts.append(markdown(('', *names), aggregate_rows(made)))
    parts.append(
      'In brackets: 95% intervals of a bootstrap over the runs of each task '
      f'(arXiv:2108.13264).{f" {made.source}." if made.source else ""}'
    )
  if made.crafter:
    parts.append(crafter_part(*made.crafter))
  if made.notes:
    parts.append('## What is missing, or not alike')
    parts.append('\n'.join(f'- {note}' for note in made.notes))
  return '\n\n'.join(part.rstrip('\n') for part in parts)


def task_rows(
  made: Report, methods: Sequence[str]
) -> Iterator[tuple[str, ...]]:
  for row in made.rows:
    greedy = [x for x in row.greedy if math.isfinite(x)]
    yield (
      row.task,
      f'{row.frames:,.0f}',
      str(len(row.runs)),
      spread(list(row.runs.values())),
      spread(greedy),
      *(spread(row.published.get(method, ())) for method in methods),
    )


def aggregate_rows(made: Report) -> Iterator[tuple[str, ...]]:
  for name in made.aggregates['']:
    values = [found[name] for found in made.aggregates.values()]
    yield (name, *(bracketed(value) for value in values))


def crafter_part(score: Interval, rates: dict[str, float]) -> str:
  rows = [(name, f'{100 * rate:.1f}%') for name, rate in sorted(rates.items())]
  return (
    f'## Crafter score\n\n{bracketed(score)}, in percent: the geometric mean '
    'of the success rates of all logged episodes, exp(mean(ln(1 + s))) - 1 '
    '(arXiv:2109.06780), mean over runs.\n\n'
    + markdown(('achievement', 'success rate'), rows)
  )


def spread(values: Sequence[float]) -> str:
  """Mean and standard deviation over runs; the mean alone of one."""
  if not len(values):
    return DASH
  text = short(float(np.mean(values)))
  if len(values) > 1:
    text += f' ± {short(float(np.std(values, ddof=1)))}'
  return text


def bracketed(value: Interval) -> str:
  """A number with its interval, if there is one."""
  text = short(value.value, 3)
  if math.isfinite(value.low):
    text += f' ({short(value.low, 3)} to {short(value.high, 3)})'
  return text


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
