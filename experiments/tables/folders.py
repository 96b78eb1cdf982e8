"""The folders of a suite's runs: ROOT/SUITE/TASK/SEED."""

from pathlib import Path

from dreamer_nnx.errors import UserError
from experiments.jobs import logs


def folder_of(task: str) -> str:
  """The name of a task's folder."""
  return task.replace('/', '-').replace(':', '-')


def workdir_of(root: Path, suite: str, task: str, seed: int) -> Path:
  """The workdir of a run."""
  return root / suite / folder_of(task) / str(seed)


def read_all(root: Path, suite: str, tasks: tuple[str, ...]) -> list[logs.Run]:
  """Reads every run of the tasks that has a log.

  Raises:
    UserError: There is none.
  """
  folder = root / suite
  runs = []
  for task in tasks:
    for workdir in sorted((folder / folder_of(task)).glob('*')):
      if workdir.name.isdecimal() and (workdir / logs.METRICS).is_file():
        runs.append(logs.read(workdir, task))
  if runs:
    return sorted(runs, key=lambda run: (tasks.index(run.task), run.seed))
  others = sorted(p.name for p in root.glob('*') if p.is_dir())
  hint = f' It has {", ".join(others)}.' if others else ''
  raise UserError(
    f'has no runs of {suite}: no {suite}/TASK/SEED/{logs.METRICS}.{hint}',
    '--root',
    str(root),
  )


def tasks_in(root: Path, suite: str, field: str) -> tuple[str, ...]:
  """Names of the tasks of a suite that have folders."""
  folders = sorted((root / suite).glob('*'))
  return tuple(task_of(p, field) for p in folders if p.is_dir())


def task_of(folder: Path, field: str) -> str:
  """The task of a folder by the configs of its runs, or else its own name.

  Args:
    field: Path of the task in a config.
  """
  for workdir in sorted(folder.glob('*')):
    if workdir.is_dir():
      task = logs.read_config(workdir)[0].get(field)
      if isinstance(task, str) and folder_of(task) == folder.name:
        return task
  return folder.name
