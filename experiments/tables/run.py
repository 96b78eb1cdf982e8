"""Runs the tasks of a suite with several seeds, and goes on where it stopped.

  python -m experiments.tables.run --suite=atari100k --root=runs/tables \
    [--tasks=pong,boxing] [--seeds=5] [--config.a.b=value ...]
"""

import argparse
import math
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dreamer_nnx import config as configs
from dreamer_nnx import explaining, overrides
from dreamer_nnx.errors import UserError
from experiments.tables import logs, suites
from experiments.tables.launching import STOPPED, Job, Launcher

MODES = ('train_and_evaluate', 'train')
CHECKPOINTS = 'checkpoints'


def main(argv: Sequence[str]) -> int:
  """Makes the runs; returns the exit status.

  0 if all are finished, 1 if any failed, 75 if a signal stopped it, and 2 for
  a wrong request.
  """
  options, flags = parsed(argv)
  try:
    jobs = plan(options, flags)
  except Exception as error:
    if not explaining.expected(error):
      raise
    print(explaining.explain(error), file=sys.stderr)
    return 2
  if options.dry_run:
    for job in jobs:
      if not job.finished():
        print(shlex.join(job.command))
    return 0
  launch = Launcher(options.parallel, lambda text: print(text, flush=True))
  done = launch(jobs)
  failed = ''.join(f'\n  {job.name}: {job.log}' for job in launch.failed)
  print(
    f'{done} of {len(jobs)} runs are finished, {len(launch.failed)} '
    f'failed.{failed}'
  )
  if launch.failed:
    return 1
  return 0 if done == len(jobs) else STOPPED


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
  add('--mode', choices=MODES, default=MODES[0])
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
  root = root_of(options.root)
  jobs = []
  steps = {}
  for seed in range(options.seeds):
    for task in tasks:
      argv = [*flags, f'--config.{suite.field}={task}', f'--config.seed={seed}']
      if task not in steps:
        steps[task] = checked(config, argv)
      workdir = logs.workdir_of(root, name, task, seed)
      command = [sys.executable, '-m', 'dreamer_nnx.main', f'--config={config}']
      command += [f'--workdir={workdir}', f'--mode={options.mode}']
      command += [f'--stopped_status={STOPPED}', *argv]
      job = Job(
        f'{task}, seed {seed}',
        command,
        workdir.with_name(f'{seed}.log'),
        lambda w=workdir, c=steps[task]: finished(w, c, options.mode),
      )
      jobs.append(job)
  return jobs[index::count]


def root_of(text: str) -> Path:
  if '://' in text:
    raise UserError('must be a folder of a file system.', '--root', text)
  root = Path(text).expanduser().absolute()
  if root.exists() and not root.is_dir():
    raise UserError('is no folder.', '--root', text)
  return root


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


def checked(name: str, flags: Sequence[str]) -> configs.ConfigDict:
  """The config of a run, as it will be; raises what that would raise."""
  configs.load_plugins(overrides.plugins_from_argv(flags))
  config = overrides.load_file(name)
  overrides.override(config, flags)
  return configs.resolve(config)


def finished(workdir: Path, config: Any, mode: str) -> bool:
  """Tells by its own files whether a run was trained, and evaluated.

  That is, whether it has a checkpoint, or an evaluation with greedy actions,
  of so many steps, or one that was good enough to end it.
  """
  steps = config.train.steps
  lines, _ = logs.read_lines(workdir / logs.EVALUATIONS)
  greedy = [
    line
    for line in lines
    if str(line.get('policy', '')).endswith(logs.GREEDY)
    and 'problem' not in line
  ]
  enough = config.evaluate.stop_at if config.evaluate.every else math.inf
  best = max((x.get('eval/return', -math.inf) for x in greedy), default=0.0)
  if best >= enough:
    return True
  if mode == 'train_and_evaluate':
    return any(line['env_steps'] >= steps for line in greedy)
  saved = [
    int(folder.name)
    for folder in (workdir / CHECKPOINTS).glob('*')
    if folder.name.isdecimal()
  ]
  return max(saved, default=-1) >= steps + config.train.offline


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
