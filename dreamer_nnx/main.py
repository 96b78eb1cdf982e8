"""The launcher: flags -> train, evaluate, show, list, check, play or report.

  python -m dreamer_nnx.main --config=demo --workdir=runs/demo

The same command again resumes. Errors in what was asked for are one message
and exit status 2.
"""

import importlib.util
import os
import pathlib
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

# Buckets are reached by fsspec; epath would look for TensorFlow first.
os.environ.setdefault('EPATH_USE_TF', 'false')

from absl import app, flags, logging
from ml_collections import ConfigDict

from dreamer_nnx import (
  commandline,
  explaining,
  launcher_flags,
  overrides,
  paths,
  trust,
)
from dreamer_nnx import config as configs
from dreamer_nnx.errors import UserError
from dreamer_nnx.launcher_flags import (
  AGAIN,
  CACHE,
  CONFIG,
  COORDINATOR,
  DEBUG,
  DISTRIBUTED,
  EXCLUDE,
  FORCE,
  INCLUDE,
  MODE,
  NOCOMPILE,
  NODIAGNOSE,
  OUTPUT,
  PORT,
  PROCESS,
  PROCESSES,
  PROFILE,
  RECORD,
  REFERENCE,
  RESTORE,
  RESTORE_STEP,
  SCRATCH,
  SLOT,
  STOPPED,
  TRUST,
)

if TYPE_CHECKING:
  from dreamer_nnx.training.start import Source

# Off, the collectives of a program begin in the order that it has them in.
ORDERED = 'xla_cpu_enable_concurrency_optimized_scheduler'


def run() -> None:
  """Entry point of the console script."""
  here = paths.here()
  if not here:
    fail('The current folder has been deleted. Change to another: cd ~')
  # Plugins are found in the current folder, as with `python -m`.
  if here not in sys.path:
    sys.path.insert(0, here)
  app.run(main, flags_parser=parse)


def parse(argv: Sequence[str]) -> list[str]:
  """Parses the flags proper; those of the config are left in the result."""
  asked = argv[: argv.index('--')] if '--' in argv else argv
  if {*commandline.HELPS, *commandline.FULL_HELPS} & set(asked):
    show_help(full=bool(set(commandline.FULL_HELPS) & set(asked)))
  try:
    return flags.FLAGS(list(argv), known_only=True)
  except flags.Error as error:
    fail(explaining.explain(error))


def show_help(full: bool) -> NoReturn:
  """Prints how to use the launcher, with its flags or those of libraries."""
  print(commandline.HELP, launcher_flags.text(full), sep='')
  sys.exit(0)


def main(argv: Sequence[str]) -> None:
  try:
    dispatch(argv)
  except Exception as error:
    if DISTRIBUTED.value:
      explaining.end_this_process(error, debug=DEBUG.value)
    if DEBUG.value or not explaining.expected(error):
      raise
    fail(explaining.explain(error), explaining.status_of(error))


def fail(message: str, status: int = 2) -> NoReturn:
  """Prints the message and exits."""
  print(message, file=sys.stderr)
  sys.exit(status)


def dispatch(argv: Sequence[str]) -> None:
  """Runs the mode that the flags ask for."""
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)
  if not DEBUG.value:
    explaining.silence_save_errors()
  folder = pathlib.Path.cwd()
  check_flags()
  if MODE.value == 'list':
    explaining.write(choices(make_config(argv, folder)))
    return
  if MODE.value == 'report':
    report(argv)
    return
  use_cache(CACHE.value)
  if MODE.value == 'play':
    play(argv)
    return
  if MODE.value != 'check':
    join_processes()
  config = make_config(argv, folder)
  if MODE.value == 'show':
    from dreamer_nnx import show

    explaining.write(show.describe(config))
    return
  if MODE.value in ('check', 'check_env'):
    sys.exit(look(config))
  workdir = launcher_flags.need_workdir()
  agree(config)
  from dreamer_nnx.training import devices

  train = config.train
  with devices.explaining_memory(train.batch_size, train.batch_length):
    start(config, workdir)


def play(argv: Sequence[str]) -> None:
  """Serves the page of the player of a trained world model."""
  from dreamer_nnx.envs import packages

  refuse(argv)
  packages.check('play', '--mode=play')
  from dreamer_nnx.play import start as player

  workdir, step = launcher_flags.need_workdir(), RESTORE_STEP.value
  player.play(workdir, step, TRUST.value, PORT.value, explaining.write)


def look(config: ConfigDict) -> int:
  """Checks environments, or all of a run; returns the exit status."""
  from dreamer_nnx import env_check, preflight

  if MODE.value == 'check_env':
    return env_check.report(config, explaining.write)
  source, step = source_and_step()
  workdir = launcher_flags.workdir()
  request = preflight.Request(
    config,
    paths.parse(workdir, '--workdir') if workdir else None,
    source,
    step,
    AGAIN.value,
    SCRATCH.value,
    PROCESSES.value or 1,
    not NOCOMPILE.value,
  )
  return preflight.report(request, explaining.write)


def check_flags() -> None:
  """Refuses flags without effect, and makes all paths absolute."""
  given = launcher_flags.given()
  launcher_flags.make_absolute()
  several = MODE.value == 'report'
  workdir = '' if several else launcher_flags.workdir()
  in_bucket = bool(workdir) and paths.in_bucket(workdir)
  commandline.check_flags(MODE.value, given, in_bucket)


def choices(config: ConfigDict) -> str:
  """Describes what can be chosen, as wide as the terminal."""
  from dreamer_nnx import listing

  width = min(80, shutil.get_terminal_size().columns)
  return listing.describe(config, SLOT.value, width)


def report(argv: Sequence[str]) -> None:
  """Writes the page of runs."""
  from dreamer_nnx.report import writing

  refuse(argv)
  if not launcher_flags.workdirs():
    raise UserError('name the folder of a run, or several.', '--workdir')
  if not OUTPUT.value:
    raise UserError('name a file, e.g. report.html.', '--output')
  workdirs = [paths.parse(x, '--workdir') for x in launcher_flags.workdirs()]
  output = paths.parse(OUTPUT.value, '--output')
  if diagnose := not NODIAGNOSE.value:
    use_cache(CACHE.value)
    draw_without_display()
  given = FORCE.value, TRUST.value, diagnose
  explaining.write(writing.write(workdirs, output, *given, explaining.write))


def agree(config: ConfigDict) -> None:
  """Ends a run whose processes are not alike, before any of them compiles."""
  from dreamer_nnx.training import agreement

  if DISTRIBUTED.value:
    named = (MODE, REFERENCE, AGAIN, RESTORE, RESTORE_STEP, INCLUDE, EXCLUDE)
    named += (RECORD,)
    flags = {flag.name: flag.value for flag in named}
    flags['workdir'] = launcher_flags.workdir()
    leaves = configs.leaves(config)
    agreement.check(agreement.identity(leaves, config.plugins, flags))


def join_processes() -> None:
  """Connects to the other processes, if this is to be one of several."""
  given = (COORDINATOR.value, PROCESSES.value, PROCESS.value)
  if DISTRIBUTED.value:
    from dreamer_nnx.training import processes

    keep_collectives_in_order()
    processes.join(*given)
  elif given != (None, None, None):
    names = (COORDINATOR.name, PROCESSES.name, PROCESS.name)
    name = next(n for n, x in zip(names, given, strict=True) if x is not None)
    text = 'is of --distributed, which is not given. Add it, or leave this out.'
    raise UserError(text, f'--{name}')


def keep_collectives_in_order() -> None:
  """Makes CPUs run what several processes compute in the same order in each.

  Call it before JAX sees any device. It does nothing where an accelerator
  may be in use.
  """
  import jax

  platforms = set((jax.config.jax_platforms or '').split(',')) - {''}
  others = map(importlib.util.find_spec, ('libtpu', 'jax_plugins'))
  if platforms != {'cpu'} and (platforms or any(others)):
    return
  # With two programs at once, one that waits for other processes holds threads
  # that the one before it may need: all of them can end up waiting.
  jax.config.update('jax_cpu_enable_async_dispatch', False)
  # In a program that is scheduled for concurrency, each process begins the
  # collectives in an order of its own, so that they do not match.
  given = os.environ.get('XLA_FLAGS', '')
  if ORDERED not in given:
    os.environ['XLA_FLAGS'] = f'{given} --{ORDERED}=false'.strip()


def draw_without_display() -> None:
  """Sets how MuJoCo draws, before a plugin or an environment imports it."""
  from dreamer_nnx import displays

  os.environ.update(displays.variables())


def make_config(argv: Sequence[str], folder: pathlib.Path) -> ConfigDict:
  """The config file's config, or else the workdir's, with the overrides.

  Args:
    folder: Folder that a relative path of a config file begins in.
  """
  draw_without_display()
  configs.load_plugins(overrides.plugins_from_argv(argv))
  change = lambda made: refuse(overrides.override(made, list(argv)), made)
  if CONFIG.value:
    config = overrides.load_file(CONFIG.value, folder, change, explaining.write)
    return configs.resolve(config)
  if launcher_flags.workdir():
    config = config_of_workdir(overrides.named(argv))
  elif MODE.value == 'list':
    config = configs.generate()
  else:
    refuse(overrides.without_overrides(argv))
    raise UserError(
      'name a config file, or a shipped one such as demo, or by --workdir a '
      'run that has one.',
      '--config',
    )
  change(config)
  return configs.resolve(config)


def refuse(rest: Sequence[str], config: ConfigDict | None = None) -> None:
  """Refuses what is left of the command line beside its first word."""
  if rest[1:]:
    raise commandline.unknown(rest[1], launcher_flags.names(), config)


def config_of_workdir(named: Mapping[str, Any]) -> ConfigDict:
  """The config in the checkpoint, which may name code only if it is trusted."""
  from dreamer_nnx.run import saved_config

  workdir = paths.parse(launcher_flags.workdir(), '--workdir')
  if not workdir.exists() and MODE.value != 'evaluate':
    text = f'name a config file; {workdir} is not there to take it from.'
    raise UserError(text, '--config')
  step = first_step(workdir)
  try:
    return saved_config(workdir, step, trust_config=TRUST.value, named=named)
  except trust.UntrustedError as error:
    command = shlex.join([*sys.orig_argv, '--trust_config'])
    raise trust.UntrustedError(error.found, f'run:\n  {command}') from error


def source_and_step() -> 'tuple[Source, int | None]':
  """Returns the source of a new run, and the step to go back to, if any."""
  from dreamer_nnx.training.start import Source

  source = Source(
    restore=RESTORE.value,
    step=RESTORE_STEP.value,
    include=INCLUDE.value,
    exclude=EXCLUDE.value,
    reference=REFERENCE.value,
  )
  # The step is of the run to start from, if there is one; else of this one.
  return source, None if source.restore else source.step


def first_step(workdir: paths.Path) -> int | None:
  """The step whose config is this run's; None for the latest."""
  from dreamer_nnx.training.start import plan

  source, step = source_and_step()
  begins = 'train' in MODE.value or MODE.value == 'check'
  if step is None or not begins:
    return step
  return plan(workdir, source.flags(), step, AGAIN.value).step


def start(config: ConfigDict, workdir: paths.Path) -> None:
  """Trains and evaluates."""
  from dreamer_nnx.run import Run
  from dreamer_nnx.training.checkpoint import find

  source, step = source_and_step()
  if 'train' in MODE.value:
    how = {
      'profile': PROFILE.value,
      'again': AGAIN.value,
      'scratch': SCRATCH.value,
      'record': RECORD.value,
    }
    with Run(config, workdir, source, step, **how) as session:
      session.train(evaluate='evaluate' in MODE.value)
    if session.stopped:
      sys.exit(STOPPED.value)
  else:
    step = None
    if not (source.restore or source.reference):
      root = find(workdir, source.step)
      workdir, step = root.parents[1], int(root.name)
    how = {'scratch': SCRATCH.value, 'training': False, 'record': RECORD.value}
    with Run(config, workdir, source, step, **how) as session:
      session.evaluate()
  # An evaluation had fewer episodes than it should.
  if session.incomplete:
    sys.exit(1)


def use_cache(folder: str) -> None:
  """Keeps compiled programs in a folder, for the next start."""
  import jax

  if not folder:
    return
  path = paths.parse(folder, '--compilation_cache')
  jax.config.update('jax_compilation_cache_dir', str(path))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)


if __name__ == '__main__':
  run()
