"""Reads runs and writes their page: what `--mode=report` does."""

import functools
from collections.abc import Callable, Iterator, Sequence

from dreamer_nnx import paths
from dreamer_nnx.envs import packages
from dreamer_nnx.errors import UserError
from dreamer_nnx.report import (
  diagnostics,
  groups,
  metrics,
  overview,
  parameters,
  returns,
  runs,
  settings,
  verdicts,
)
from dreamer_nnx.report.groups import Group
from dreamer_nnx.report.runs import Run
from dreamer_nnx.report.sections import Section

SUFFIXES = '.html', '.htm'
Describe = Callable[[Run], Section | None]


def videos(run: Run) -> Section | None:
  """The videos of a run, playing in place."""
  return Section('Videos', videos=run.videos) if run.videos else None


# What is said of each run by itself, in this order, after its diagnostics.
OF_RUN: list[Describe] = [
  videos,
  parameters.section,
  overview.starts,
]


def check_output(output: paths.Path, force: bool) -> None:
  """Refuses to write where that would lose something.

  Raises:
    UserError: It is not a name of an HTML file, or there is one already.
  """
  where = '--output', str(output)
  if not output.name.lower().endswith(SUFFIXES):
    raise UserError('must end in .html.', *where)
  if output.is_dir():
    raise UserError('is a folder. Name a file.', *where)
  if output.exists() and not force:
    raise UserError('is there. Add --force to overwrite it.', *where)


def write(
  workdirs: Sequence[paths.Path],
  output: paths.Path,
  force: bool,
  trust: bool,
  diagnose: bool = False,
  say: Callable[[str], None] = lambda text: None,
) -> str:
  """Writes the page of runs; returns a line about it.

  Args:
    force: Whether a page that is there is overwritten.
    trust: Whether code that the configs name may be imported.
    diagnose: Whether the newest checkpoints are diagnosed, too.
    say: Told what is being done where that takes a while.

  Raises:
    UserError: A workdir is none, the page is there, or a package is missing.
    OSError: A file cannot be read or written.
  """
  packages.check('report', '--mode=report')
  check_output(output, force)
  found = groups.make(runs.read_all(workdirs))
  look = functools.partial(diagnostics.section, trust=trust, say=say)
  text = html(found, trust, look if diagnose else left_out)
  output.parent.mkdir(parents=True, exist_ok=True)
  paths.write(output, data := text.encode())
  count = sum(len(group.runs) for group in found)
  what = f'{count} run{"s" * (count > 1)}'
  return f'Wrote {output} ({what}, {len(data) / 1e6:.1f} MB).'


def left_out(run: Run) -> Section:
  """Says that nothing was diagnosed, for that was asked for."""
  return diagnostics.absent('--nodiagnose was given. Leave it out.')


def html(
  found: Sequence[Group], trust: bool, diagnose: Describe = left_out
) -> str:
  """The page of groups of runs.

  Args:
    trust: As `write` takes it.
    diagnose: Describes the newest checkpoint of a run.
  """
  # Bokeh and Jinja are there only with the extra.
  from dreamer_nnx.report import page

  every = [run for group in found for run in group.runs]
  several, descriptions = len(every) > 1, (diagnose, *OF_RUN)
  of_runs = [x for run in every for x in _of_run(run, descriptions, several)]
  sections = [
    overview.section(found),
    returns.section(found),
    *metrics.sections(found),
    settings.section(found, trust),
    *of_runs,
  ]
  shown = [section for section in sections if section]
  warnings = list(_warnings(found, shown))
  names = ', '.join(run.name for run in every[:3])
  more = f' and {len(every) - 3} more' if len(every) > 3 else ''
  thinned = metrics.thinning(found)
  return page.render(
    page.Page(
      title=f'Report: {names}{more}',
      warnings=warnings,
      notes=[*_notes(found), *filter(None, [thinned])],
      sections=shown,
      labels=[group.name for group in found],
    )
  )


def _of_run(
  run: Run, descriptions: Sequence[Describe], several: bool
) -> Iterator[Section]:
  for describe in descriptions:
    if section := describe(run):
      if several:
        section = section.of(run.name)
      yield section


def _notes(found: Sequence[Group]) -> Iterator[str]:
  for group in found:
    for run in group.runs:
      for text in verdicts.notes(run):
        yield f'{run.name}: {text}'


def _warnings(
  found: Sequence[Group], sections: Sequence[Section]
) -> Iterator[str]:
  for group in found:
    for run in group.runs:
      for text in verdicts.warnings(run):
        yield f'{run.name}: {text}'
    yield from groups.seed_problems(group)
  for section in sections:
    for text in section.warnings:
      yield f'{section.title}: {text}'
