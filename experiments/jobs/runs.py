"""Runs of the launcher: their configs, their commands, and when they ended."""

import copy
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import absl.flags

from dreamer_nnx import commandline, explaining, launcher_flags, overrides
from dreamer_nnx import config as configs
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import branch
from experiments.jobs import logs
from experiments.jobs.launching import STOPPED

MODES = ('train_and_evaluate', 'train')
CHECKPOINTS = 'checkpoints'


def status_of(request: Callable[[], int]) -> int:
  """Does what is asked for; returns the exit status.

  It is that of the request, or 2 for a wrong one, of which it says why.
  """
  try:
    return request()
  except Exception as error:
    if not explaining.expected(error):
      raise
    print(explaining.explain(error), file=sys.stderr)
    return 2


def root_of(text: str) -> Path:
  """The folder that --root names.

  Raises:
    UserError: It is no folder of a file system.
  """
  return folder_of(text, '--root').absolute()


def folder_of(text: str, flag: str) -> Path:
  """The folder that a flag names, which may have to be made.

  Raises:
    UserError: It is none of a file system, a file, or of an unknown user.
  """
  if '://' in text:
    raise UserError('must be a folder of a file system.', flag, text)
  try:
    folder = Path(text).expanduser()
  except RuntimeError as error:
    raise UserError(f'{error}.', flag, text) from error
  if folder.exists() and not folder.is_dir():
    raise UserError('is no folder.', flag, text)
  return folder


def refuse_shared_files(config: configs.ConfigDict) -> None:
  """Refuses a config by which all runs would write to one folder.

  Raises:
    UserError: It does, in a field `results` of the environment.
  """
  name = branch(config.env.name)
  if results := config.env.get(name, {}).get('results'):
    text = (
      'is one folder, and all runs would write to it. Leave it out: the '
      'workdir of each has its own logs. Or start each run by itself, by '
      'dreamer_nnx.main.'
    )
    raise UserError(text, f'config.env.{name}.results', results)


def checked(name: str, flags: Sequence[str]) -> configs.ConfigDict:
  """The config of a run with these flags; raises what that would raise."""
  _, rest = _parsed(flags)

  def change(config: configs.ConfigDict) -> None:
    if unknown := overrides.override(config, rest):
      raise commandline.unknown(unknown[0], launcher_flags.names(), config)

  configs.load_plugins(overrides.plugins_from_argv(rest))
  return configs.resolve(overrides.load_file(name, change=change))


def given_flags(argv: Sequence[str]) -> list[str]:
  """Names of the flags of the launcher itself that are given.

  Raises:
    UserError: One has no such value.
  """
  return _parsed(argv)[0]


def _parsed(argv: Sequence[str]) -> tuple[list[str], list[str]]:
  """Names of the flags that are no fields, and the other arguments."""
  known = copy.deepcopy(absl.flags.FLAGS)
  known.unparse_flags()
  try:
    rest = known(['', *argv], known_only=True)[1:]
  except absl.flags.Error as error:
    raise UserError(explaining.explain(error)) from error
  return [name for name in known if known[name].present], rest


def command(
  config: str, workdir: Path, mode: str, flags: Sequence[str]
) -> list[str]:
  """The command that makes a run, or goes on with it."""
  return [
    *(sys.executable, '-m', 'dreamer_nnx.main'),
    f'--config={config}',
    f'--workdir={workdir}',
    f'--mode={mode}',
    f'--stopped_status={STOPPED}',
    *flags,
  ]


def finished(workdir: Path, config: Any, mode: str) -> bool:
  """Tells by its own files whether a run was trained, and evaluated.

  That is, whether it has a checkpoint, or an evaluation with greedy actions,
  of so many steps, or one that was good enough to end it. Updates that a run
  with `act_async` still owes belong to it.
  """
  steps = config.train.steps
  lines, _ = logs.read_lines(workdir / logs.EVALUATIONS)
  greedy = [
    line for line in lines if logs.greedy(line) and 'problem' not in line
  ]
  enough = config.evaluate.stop_at if config.evaluate.every else math.inf
  if any(x >= enough for line in greedy for x in logs.returned(line)):
    return True
  if mode == 'train_and_evaluate':
    return any(line['env_steps'] >= steps for line in greedy)
  saved = [
    int(folder.name)
    for folder in (workdir / CHECKPOINTS).glob('*')
    if folder.name.isdecimal()
  ]
  last = max(saved, default=-1)
  if last < steps + config.train.offline:
    return False
  return not (config.train.act_async and _owes(workdir / CHECKPOINTS, last))


def _owes(folder: Path, step: int) -> bool:
  """Tells whether updates are still to be made, or what is saved is damaged.

  A run that goes on from a damaged checkpoint says what is to be done.
  """
  # Orbax takes a second to import, and few runs act so.
  from dreamer_nnx.training import checkpoint_reading as checkpoint

  try:
    return checkpoint.load_meta(folder, step)['counters'].get('owed', 0) > 0
  except checkpoint.CheckpointError:
    return True
