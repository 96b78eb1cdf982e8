"""Trains settings x seeds, goes on where it stopped, and reports on all.

  python -m experiments.sweep --root=runs/lr --config=demo --seeds=0,1,2 \
    --set=config.optimizer.dreamer.lr=1e-3,3e-4 [--parallel=2] \
    [--backend=local|ray|slurm] [-- further flags of the launcher]
"""

import argparse
import shlex
import sys
from collections.abc import Sequence

from dreamer_nnx.errors import UserError
from experiments.jobs import runs
from experiments.jobs.launching import Launcher, conclude, say
from experiments.sweeps import plan as plans
from experiments.sweeps import slurm, table
from experiments.sweeps.checked import Sweep, check
from experiments.sweeps.plan import Plan
from experiments.sweeps.ray_tasks import RayLauncher

BACKENDS = ('local', 'ray', 'slurm')
# Options that make a plan, beside --config.
PLANNING = ('set', 'seeds', 'mode')


def main(argv: Sequence[str]) -> int:
  """Makes the runs; returns the exit status, see `conclude` and `status_of`."""
  options, flags = parsed(argv)
  return runs.status_of(lambda: make(options, flags))


def make(options: argparse.Namespace, flags: list[str]) -> int:
  """Does what the options ask for."""
  sweep = prepared(options, flags)
  if options.list:
    say('\n'.join(listing(sweep)))
    return 0
  plans.store(sweep.root, sweep.plan)
  if options.index is not None:
    return make_one(sweep, options.index)
  if options.backend == 'slurm':
    return write_script(sweep, options)
  return make_all(sweep, options)


def parsed(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
  """The options, and the flags of the launcher that come after `--`."""
  parser = argparse.ArgumentParser(
    'experiments.sweep',
    description='Flags of the launcher, for every run, come after --.',
    allow_abbrev=False,
  )
  add = parser.add_argument
  add('--root', required=True, help='folder; runs are in ROOT/SETTING/SEED')
  add('--config', help='of every run, as for the launcher; or go on')
  add('--set', action='append', help='config.PATH=VALUE,VALUE: a field varied')
  add('--seeds', help='with commas; 0 if not given')
  add('--mode', choices=runs.MODES, help='train_and_evaluate if not given')
  add('--backend', choices=BACKENDS, default='local', help='runs them there')
  add('--parallel', type=int, help='runs at a time; by default 1 here')
  add('--cpus', type=int, default=1, help='of a run, with ray or slurm')
  add('--gpus', type=int, default=0, help='of a run, with ray or slurm')
  add('--time', default='24:00:00', help='limit of a job of slurm')
  add('--list', action='store_true', help='print the runs and start nothing')
  add('--index', type=int, help='make the run of this index alone')
  split = argv.index('--') if '--' in argv else len(argv)
  options, rest = parser.parse_known_args(argv[:split])
  if rest:
    parser.error(f'{rest[0]} is unknown; flags of the launcher come after --.')
  return options, list(argv[split + 1 :])


def prepared(options: argparse.Namespace, flags: list[str]) -> Sweep:
  """The sweep that is asked for, after checking all of it.

  Raises:
    UserError, ConfigError: It cannot be run.
  """
  for name, least in (('parallel', 1), ('cpus', 1), ('gpus', 0), ('index', 0)):
    value = getattr(options, name)
    if value is not None and value < least:
      raise UserError(f'must be at least {least}.', f'--{name}', value)
  root = runs.root_of(options.root)
  old = plans.load(root)
  plan = planned(options, flags)
  if plan is None:
    if old is None:
      raise UserError('has no plan yet. Name a --config.', f'--root={root}')
    plan = old
  return check(root, plans.joined(root, old, plan))


def planned(options: argparse.Namespace, flags: list[str]) -> Plan | None:
  """The plan that the options make; None if they make none."""
  if options.config is None:
    given = [f'--{name}' for name in PLANNING if getattr(options, name)]
    if given or flags:
      raise UserError('name it, too.', '--config')
    return None
  return plans.make(
    options.config,
    options.mode or runs.MODES[0],
    flags,
    plans.varied(options.set or ()),
    plans.seeds(options.seeds or '0'),
  )


def listing(sweep: Sweep) -> list[str]:
  """Lines of each run: index, name, state and command."""
  lines = []
  for index, run in enumerate(sweep.plan.runs):
    read = sweep.logs(run)
    state = f'{table.steps_of(read):,} steps' if read else 'not begun'
    state = 'finished' if sweep.finished(run) else state
    lines.append(f'{index} {run.name}: {state}')
    lines.append(f'  {shlex.join(sweep.job(run).command)}')
  return lines


def make_all(sweep: Sweep, options: argparse.Namespace) -> int:
  """Makes the runs, here or by Ray, and reports on them."""
  count = len(sweep.plan.runs)
  launch = Launcher(options.parallel or 1)
  if options.backend == 'ray':
    resources = {'num_cpus': options.cpus, 'num_gpus': options.gpus}
    launch = RayLauncher(options.parallel or count, resources)
  done = launch([sweep.job(run) for run in sweep.plan.runs])
  status = conclude(done, count, launch.failed)
  table.show(sweep, [job.name for job in launch.failed])
  return status if launch.stopped else max(status, table.report(sweep))


def make_one(sweep: Sweep, index: int) -> int:
  """Makes one run, and if it was the last one reports on all."""
  if index >= len(sweep.plan.runs):
    what = f'must be below {len(sweep.plan.runs)}, the number of runs.'
    raise UserError(what, '--index', index)
  launch = Launcher(1)
  done = launch([sweep.job(sweep.plan.runs[index])])
  status = conclude(done, 1, launch.failed)
  if status or not all(map(sweep.finished, sweep.plan.runs)):
    return status
  table.show(sweep)
  return table.report(sweep)


def write_script(sweep: Sweep, options: argparse.Namespace) -> int:
  """Writes the script of what is left, or reports if nothing is."""
  every = enumerate(sweep.plan.runs)
  left = [index for index, run in every if not sweep.finished(run)]
  table.show(sweep)
  if not left:
    return table.report(sweep)
  resources = options.parallel, options.cpus, options.gpus, options.time
  file = slurm.write(sweep.root, left, *resources)
  say(f'{len(left)} runs are left: sbatch {shlex.quote(str(file))}')
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
