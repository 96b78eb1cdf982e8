"""Runs the tasks of a suite with several seeds, and goes on where it stopped.

  python -m experiments.tables.run --suite=atari100k --root=runs/tables \
    [--tasks=pong,boxing] [--seeds=5] [--config.a.b=value ...]
"""

import argparse
import re
import shlex
import sys
from collections.abc import Sequence

from dreamer_nnx import overrides
from dreamer_nnx.errors import UserError
from experiments.jobs import runs
from experiments.jobs.launching import Job, Launcher, conclude
from experiments.tables import folders, suites


def main(argv: Sequence[str]) -> int:
  """Makes the runs; returns the exit status, see `conclude` and `status_of`."""
  options, flags = parsed(argv)
  return runs.status_of(lambda: make(options, flags))


def make(options: argparse.Namespace, flags: list[str]) -> int:
  """Makes the runs that the options name, or prints what is left to run."""
  jobs = plan(options, flags)
  if options.dry_run:
    for job in jobs:
      if not job.finished():
        print(shlex.join(job.command))
    return 0
  launch = Launcher(options.parallel)
  done = launch(jobs)
  return conclude(done, len(jobs), launch.failed)


def parsed(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
  """The options, and the flags that set fields of the config."""
  parser = argparse.ArgumentParser(
    'experiments.tables.run',
    description='Any --config.a.b=value is handed on to every run.',
    allow_abbrev=False,
  )
  add = parser.add_argument
  add('--suite', required=True, help=', '.join(suites.SUITES))
  add('--root', required=True, help='folder; runs are in ROOT/SUITE/TASK/SEED')
  add('--tasks', default='', help='with commas; by default all of the suite')
  add('--seeds', type=int, default=5, help='how many, from 0')
  add('--config', default='', help="instead of the suite's own")
  add('--mode', choices=runs.MODES, default=runs.MODES[0])
  add('--parallel', type=int, default=1, help='runs at the same time')
  add('--shard', default='0/1', help='i/n: every n-th run, from the i-th of 0')
  add('--dry_run', action='store_true', help='print what is left to run')
  options, flags = parser.parse_known_args(argv)
  for flag in flags:
    if not re.match(r'--(no)?config\.[^=]+(=|$)', flag):
      parser.error(f'unrecognized argument: {flag}')
  return options, flags


def plan(options: argparse.Namespace, flags: list[str]) -> list[Job]:
  """The runs of this shard, by seed first, after checking their configs.

  Raises:
    UserError, ConfigError: The request cannot be run.
  """
  name, suite = suites.find(options.suite)
  tasks = suites.choose(name, suite, options.tasks)
  for number in ('seeds', 'parallel'):
    if getattr(options, number) < 1:
      got = getattr(options, number)
      raise UserError('must be at least 1.', f'--{number}', got)
  index, count = shard(options.shard)
  config = options.config or suite.config
  refuse_own_fields(flags, suite.field)
  root = runs.root_of(options.root)
  jobs = []
  checked = {}
  for seed in range(options.seeds):
    for task in tasks:
      argv = [*flags, f'--config.{suite.field}={task}', f'--config.seed={seed}']
      if task not in checked:
        checked[task] = runs.checked(config, argv)
        runs.refuse_shared_files(checked[task])
      workdir = folders.workdir_of(root, name, task, seed)
      job = Job(
        f'{task}, seed {seed}',
        runs.command(config, workdir, options.mode, argv),
        workdir.with_name(f'{seed}.log'),
        lambda w=workdir, c=checked[task]: runs.finished(w, c, options.mode),
      )
      jobs.append(job)
  return jobs[index::count]


def refuse_own_fields(flags: Sequence[str], field: str) -> None:
  """Refuses to set by hand what differs between the runs."""
  for path, flag in ((field, '--tasks'), ('seed', '--seeds')):
    if path in overrides.named(flags):
      raise UserError(f'is set by {flag}.', f'config.{path}')


def shard(text: str) -> tuple[int, int]:
  """Index and count of `i/n`."""
  match = re.fullmatch(r'(\d+)/(\d+)', text)
  index, count = map(int, match.groups()) if match else (0, 0)
  if not index < count:
    raise UserError('must be i/n, i from 0 to n - 1.', '--shard', text)
  return index, count


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
