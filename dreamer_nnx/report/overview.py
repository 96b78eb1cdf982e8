"""The first table of a page: runs, how far they came, and with what."""

import datetime
from collections.abc import Iterator, Sequence

from dreamer_nnx.report import axes
from dreamer_nnx.report import groups as grouping
from dreamer_nnx.report.groups import Group
from dreamer_nnx.report.logs import FRAMES
from dreamer_nnx.report.runs import Run
from dreamer_nnx.report.sections import Section, Table

HEAD = (
  'run', 'group', 'seed', 'environment steps', 'frames', 'wall time',
  'updates', 'devices', 'commit', 'version', 'begun',
)  # fmt: skip
UPDATES = 'train/opt/updates'
LONGEST = 60


def section(groups: Sequence[Group]) -> Section:
  """All runs, a row each."""
  rows = [list(_row(g, run)) for g in groups for run in g.runs]
  return Section('Runs', tables=[Table(HEAD, rows)])


def starts(run: Run) -> Section | None:
  """The starts of a run and its packages; None if unknown."""
  if not run.starts:
    return None
  rows = [
    [_text(start, x) for x in ('time', 'env_steps', 'command', 'devices')]
    for start in run.starts[-20:]
  ]
  head = 'time', 'at step', 'command', 'devices'
  packages = run.starts[-1].get('packages')
  packages = packages if isinstance(packages, dict) else {}
  versions = [(_short(k), _short(v)) for k, v in sorted(packages.items())]
  tables = [Table(head, rows, f'{len(run.starts)} starts', folded=True)]
  if versions:
    title = 'Packages of the last start'
    table = Table(('package', 'version'), versions, title, folded=True)
    tables.append(table)
  return Section('Starts', tables=tables)


def _row(group: Group, run: Run) -> Iterator[str]:
  yield run.name
  yield group.name
  yield str(seed) if (seed := grouping.seed(run)) >= 0 else ''
  yield f'{run.log.last:,}'
  yield _last(run, FRAMES)
  seconds = _last_value(run, axes.ELAPSED)
  yield '' if seconds is None else str(datetime.timedelta(seconds=int(seconds)))
  yield _last(run, UPDATES)
  start = run.starts[-1] if run.starts else {}
  yield _text(start, 'devices')
  changed = ' and changes' if start.get('changed') else ''
  yield f'{_text(start, "commit")[:10]}{changed}'
  packages = start.get('packages')
  yield _text(packages if isinstance(packages, dict) else {}, 'dreamer-nnx')
  yield _text(run.starts[0], 'time') if run.starts else ''


def _last_value(run: Run, name: str) -> float | None:
  curve = run.log.curves.get(name)
  return float(curve.points(8).values[-1]) if curve else None


def _last(run: Run, name: str) -> str:
  value = _last_value(run, name)
  return '' if value is None else f'{value:,.0f}'


def _text(start: dict, name: str) -> str:
  value = start.get(name)
  return '' if value is None else _short(value, 10 * LONGEST)


def _short(value: object, longest: int = LONGEST) -> str:
  text = str(value)
  return text if len(text) <= longest else f'{text[: longest - 1]}…'
