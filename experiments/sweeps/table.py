"""The end of a sweep: a table of its settings, and the report of its runs."""

import math
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from dreamer_nnx import launcher_flags, paths
from experiments.jobs import logs
from experiments.jobs.launching import Job, Launcher, conclude, say
from experiments.jobs.numbers import DASH, markdown, window_mean, with_error
from experiments.sweeps.checked import Sweep
from experiments.sweeps.plan import Run, alone

COLUMNS = ('setting', 'finished', 'failed', 'steps', 'return', 'greedy')
# The part of a run, at its end, whose training episodes count.
FINAL = 0.1
MEANING = (
  f'return: of the training episodes in the last {FINAL:.0%} of the steps; '
  'greedy: of the last evaluation. Means over seeds, ± standard error.\n'
)
TABLE, REPORT = 'table.md', 'report.html'


def show(sweep: Sweep, failed: Collection[str] = ()) -> None:
  """Prints the table, and writes it below the root.

  Args:
    failed: Names of the runs that did.
  """
  text = f'{markdown(COLUMNS, rows(sweep, failed))}\n{MEANING}'
  with alone(sweep.root):
    paths.write(sweep.root / TABLE, text.encode())
  say(f'\n{text}')


def rows(sweep: Sweep, failed: Collection[str]) -> Iterator[tuple[str, ...]]:
  for setting in sweep.plan.settings:
    own = [run for run in sweep.plan.runs if run.setting == setting]
    read = [found for run in own if (found := sweep.logs(run))]
    yield (
      f'`{setting}`',
      f'{sum(map(sweep.finished, own))} of {len(own)}',
      str(sum(run.name in failed for run in own)),
      span([steps_of(run) for run in read]),
      with_error(finite([final(run) for run in read])),
      with_error(finite([run.greedy for run in read])),
    )


def final(run: logs.Run) -> float:
  """Mean return of a run's last training episodes."""
  return window_mean(run.frames, run.returns, run.counts, run.last, FINAL)


def steps_of(run: logs.Run) -> int:
  """Environment steps that a run has done."""
  return round(run.last / logs.repeat_of(run.config))


def span(values: Sequence[int]) -> str:
  """The least and the largest."""
  if not values:
    return DASH
  low, high = min(values), max(values)
  return f'{low:,}' if low == high else f'{low:,} to {high:,}'


def finite(values: Sequence[float]) -> list[float]:
  return [value for value in values if math.isfinite(value)]


def report(sweep: Sweep) -> int:
  """Calls the launcher for the report of all runs, unless nothing has changed.

  Returns:
    The exit status: 1 if it failed.
  """
  there = [run for run in sweep.plan.runs if logged(sweep, run)]
  if 'report' not in launcher_flags.MODES or not there:
    return 0
  output = sweep.root / REPORT
  job = Job(
    'the report',
    report_command([sweep.workdir(run) for run in there], output),
    output.with_suffix('.log'),
    lambda: (
      output.exists()
      and output.stat().st_mtime > max(logged(sweep, run) for run in there)
    ),
  )
  launch = Launcher(1, lambda text: None)
  launch([job])
  if launch.failed:
    return conclude(0, 1, launch.failed)
  if job.finished():
    say(f'The report is in {output}.')
  return 0


def report_command(workdirs: Sequence[Path], output: Path) -> list[str]:
  """The command of the launcher that writes a report."""
  start = [sys.executable, '-m', 'dreamer_nnx.main', '--mode=report']
  folders = [f'--workdir={workdir}' for workdir in workdirs]
  return [*start, *folders, f'--output={output}', '--force']


def logged(sweep: Sweep, run: Run) -> float:
  """Time at which a run has logged last; 0 if it has not."""
  files = [
    file
    for name in (logs.METRICS, logs.EVALUATIONS)
    if (file := sweep.workdir(run) / name).is_file()
  ]
  return max((file.stat().st_mtime for file in files), default=0.0)
