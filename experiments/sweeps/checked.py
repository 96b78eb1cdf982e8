"""A plan whose configs are checked, and the jobs that it is made of."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path

from ml_collections import ConfigDict

from dreamer_nnx import commandline, overrides
from dreamer_nnx.errors import UserError
from experiments.jobs import logs, runs
from experiments.jobs.launching import Job
from experiments.sweeps.plan import Plan, Run

# Flags of the launcher that a sweep gives to each run, and what they come from.
OWN = {
  'config': 'by --config',
  'workdir': 'by --root',
  'mode': 'by --mode',
  'stopped_status': 'for every run',
}


@dataclasses.dataclass(frozen=True)
class Sweep:
  """All runs of a root.

  Args:
    configs: Of each setting, resolved.
  """

  root: Path
  plan: Plan
  configs: Mapping[str, ConfigDict]

  def workdir(self, run: Run) -> Path:
    return self.root / run.setting / str(run.seed)

  def finished(self, run: Run) -> bool:
    """Tells by its files whether a run has nothing left to do."""
    config = self.configs[run.setting]
    return runs.finished(self.workdir(run), config, self.plan.mode)

  def job(self, run: Run) -> Job:
    """The job that makes a run, or goes on with it."""
    plan, workdir = self.plan, self.workdir(run)
    flags = (*plan.flags, *run.flags, f'--config.seed={run.seed}')
    config = self.configs[run.setting]
    return Job(
      run.name,
      runs.command(plan.config, workdir, plan.mode, flags),
      workdir.with_name(f'{run.seed}.log'),
      functools.partial(runs.finished, workdir, config, plan.mode),
      Path.cwd(),
    )

  def logs(self, run: Run) -> logs.Run | None:
    """The logs of a run; None if it has none yet."""
    workdir = self.workdir(run)
    if not (workdir / logs.METRICS).is_file():
      return None
    return logs.read(workdir, run.setting)


def check(root: Path, plan: Plan) -> Sweep:
  """Makes the config of each setting, once.

  Raises:
    UserError: A flag, field or value is wrong, settings are the same, or runs
      would share files.
  """
  check_flags(plan)
  seed = max(run.seed for run in plan.runs)
  found: dict[str, ConfigDict] = {}
  texts: dict[str, str] = {}
  for name, flags in plan.settings.items():
    argv = (*plan.flags, *flags, f'--config.seed={seed}')
    found[name] = runs.checked(plan.config, argv)
    runs.refuse_shared_files(found[name])
    text = json.dumps(found[name].to_dict(), sort_keys=True)
    if text in texts:
      raise UserError(f'{name} and {texts[text]} are the same.', '--set')
    texts[text] = name
  return Sweep(root, plan, found)


def check_flags(plan: Plan) -> None:
  """Refuses flags that a sweep sets itself, and those without effect.

  Raises:
    UserError: There is one.
  """
  given = runs.given_flags(plan.flags)
  for name in given:
    if name in OWN:
      raise UserError(f'is set {OWN[name]}. Leave it out.', f'--{name}')
    if name in commandline.PROCESSES:
      raise UserError('is for several processes; a run is one.', f'--{name}')
  commandline.check_flags(plan.mode, {*given, 'config', 'workdir'}, False)
  set_by_all = overrides.named(plan.flags)
  varied = {p: '--set' for run in plan.runs for p in overrides.named(run.flags)}
  for path, flag in (varied | {'seed': '--seeds'}).items():
    if path in set_by_all:
      raise UserError(f'is set by {flag}.', f'config.{path}')
    if path == 'seed' and path in varied:
      raise UserError('is set by --seeds.', f'config.{path}')
