"""The launcher: flags -> config -> train, evaluate, show, list or check.

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

from dreamer_nnx import commandline, explaining, overrides, paths, trust
from dreamer_nnx import config as configs
from dreamer_nnx.errors import UserError

if TYPE_CHECKING:
  from dreamer_nnx.training.start import Source

# Off, the collectives of a program begin in the order that it has them in.
ORDERED = 'xla_cpu_enable_concurrency_optimized_scheduler'
MODES = ('train', 'evaluate', 'train_and_evaluate')
MODES += ('show', 'list', 'check', 'check_env')
_CONFIG = flags.DEFINE_string(
  'config',
  None,
  'Config file or the name of a shipped one, and the argument of its '
  'get_config: path/to/FILE.py[:ARG] or NAME[:ARG]. Fields are set by '
  '--config.path.to.field=value.',
)
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of checkpoints, replay, metrics and videos.'
)
_MODE = flags.DEFINE_enum('mode', 'train_and_evaluate', MODES, 'What to do.')
_SLOT = flags.DEFINE_string(
  'slot',
  '',
  'What --mode=list lists: a slot, a section of the config, or all; the slots '
  'themselves if not given.',
)
_RESTORE = flags.DEFINE_string(
  'restore', None, 'Workdir or checkpoint whose arrays a new run starts from.'
)
_RESTORE_STEP = flags.DEFINE_integer(
  'restore_step', None, 'Step of the checkpoint; the latest if not given.'
)
_AGAIN = flags.DEFINE_bool(
  'restore_again',
  False,
  'Goes back, or starts from the named run, although the workdir records that '
  'it was done before.',
)
_INCLUDE = flags.DEFINE_string(
  'restore_include', '.*', 'Regular expression: arrays to take by --restore.'
)
_EXCLUDE = flags.DEFINE_string(
  'restore_exclude', '', 'Regular expression: arrays not to take.'
)
_REFERENCE = flags.DEFINE_string(
  'import_reference',
  None,
  'Log or checkpoint folder of a danijar/dreamerv3 run to start from.',
)
_SCRATCH = flags.DEFINE_string(
  'scratch',
  '',
  'Folder of this machine for a replay that does not fit into memory (by '
  'default WORKDIR/replay/pool) and for what is on its way to a workdir in a '
  'bucket (there, for both, by default one for temporary files).',
)
_CACHE = flags.DEFINE_string(
  'compilation_cache',
  '~/.cache/dreamer_nnx/xla',
  'Folder of compiled programs, so that a second start compiles nothing; '
  'empty for none.',
)
_DISTRIBUTED = flags.DEFINE_bool(
  'distributed',
  False,
  'This is one of several processes that train together.',
)
_COORDINATOR = flags.DEFINE_string(
  'coordinator_address',
  None,
  'host:port of the first process, where no cluster says it.',
)
_PROCESSES = flags.DEFINE_integer(
  'num_processes', None, 'How many processes train together.'
)
_PROCESS = flags.DEFINE_integer(
  'process_id', None, 'Which of them this is, from 0.'
)
_STOPPED = flags.DEFINE_integer(
  'stopped_status',
  0,
  'Exit status after a signal ended training early; one that is not 0 has a '
  'cluster start it again.',
  lower_bound=0,
  upper_bound=255,
)
_PROFILE = flags.DEFINE_bool(
  'profile', False, 'Trace a few updates into WORKDIR/profile.'
)
_TRUST = flags.DEFINE_bool(
  'trust_config',
  False,
  'The config in the checkpoint may import what is not of this package: only '
  'where you trust whoever made it.',
)
_DEBUG = flags.DEFINE_bool('debug', False, 'Show tracebacks of all errors.')


def run() -> None:
  """Entry point of the console script."""
  # Plugins are found in the current folder, as with `python -m`.
  if (here := os.getcwd()) not in sys.path:
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
  module = flags.FLAGS.find_module_defining_flag('workdir')
  text = flags.FLAGS.get_help() if full else flags.FLAGS.module_help(module)
  print(commandline.HELP, text, sep='')
  sys.exit(0)


def main(argv: Sequence[str]) -> None:
  try:
    dispatch(argv)
  except Exception as error:
    if _DISTRIBUTED.value:
      explaining.end_this_process(error, debug=_DEBUG.value)
    if _DEBUG.value or not explaining.expected(error):
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
  if not _DEBUG.value:
    explaining.silence_save_errors()
  folder = pathlib.Path.cwd()
  check_flags()
  if _MODE.value == 'list':
    from dreamer_nnx import listing

    width = min(80, shutil.get_terminal_size().columns)
    explaining.write(
      listing.describe(make_config(argv, folder), _SLOT.value, width)
    )
    return
  use_cache(_CACHE.value)
  join_processes()
  config = make_config(argv, folder)
  if _MODE.value == 'show':
    from dreamer_nnx import show

    explaining.write(show.describe(config))
    return
  if _MODE.value in ('check', 'check_env'):
    from dreamer_nnx import env_check, preflight

    check = preflight if _MODE.value == 'check' else env_check
    sys.exit(check.report(config, explaining.write))
  if not _WORKDIR.value:
    raise UserError('name a folder, e.g. runs/demo.', '--workdir')
  agree(config)
  from dreamer_nnx.training import devices

  train = config.train
  with devices.explaining_memory(train.batch_size, train.batch_length):
    start(config, paths.parse(_WORKDIR.value, '--workdir'))


def check_flags() -> None:
  """Refuses flags without effect, and makes all paths absolute.

  Environments may change the current folder later on.
  """
  every = [flags.FLAGS[name] for name in flags.FLAGS]
  given = {f.name for f in every if f.present and f.value is not False}
  for flag in (_WORKDIR, _RESTORE, _REFERENCE, _SCRATCH, _CACHE):
    if flag.value:
      path = paths.parse(flag.value, f'--{flag.name}')
      flags.FLAGS[flag.name].value = str(path)
    elif flag.name in given and flag.default is None:
      raise UserError('is empty. Name a folder.', f'--{flag.name}')
  in_bucket = bool(_WORKDIR.value) and paths.in_bucket(_WORKDIR.value)
  commandline.check_flags(_MODE.value, given, in_bucket)


def agree(config: ConfigDict) -> None:
  """Ends a run whose processes are not alike, before any of them compiles."""
  from dreamer_nnx.training import agreement

  if _DISTRIBUTED.value:
    named = (_MODE, _WORKDIR, _REFERENCE, _AGAIN)
    named += (_RESTORE, _RESTORE_STEP, _INCLUDE, _EXCLUDE)
    flags = {flag.name: flag.value for flag in named}
    leaves = configs.leaves(config)
    agreement.check(agreement.identity(leaves, config.plugins, flags))


def join_processes() -> None:
  """Connects to the other processes, if this is to be one of several."""
  given = (_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
  if _DISTRIBUTED.value:
    from dreamer_nnx.training import processes

    keep_collectives_in_order()
    processes.join(*given)
  elif given != (None, None, None):
    names = (_COORDINATOR.name, _PROCESSES.name, _PROCESS.name)
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


def make_config(argv: Sequence[str], folder: pathlib.Path) -> ConfigDict:
  """The config file's config, or else the workdir's, with the overrides.

  Args:
    folder: Folder that a relative path of a config file begins in.
  """
  from dreamer_nnx import displays

  # Before a plugin or an environment imports what reads them.
  os.environ.update(displays.variables())
  configs.load_plugins(overrides.plugins_from_argv(argv))
  change = lambda made: refuse(overrides.override(made, list(argv)), made)
  if _CONFIG.value:
    config = overrides.load_file(
      _CONFIG.value, folder, change, explaining.write
    )
    return configs.resolve(config)
  if _WORKDIR.value:
    config = config_of_workdir(overrides.named(argv))
  elif _MODE.value == 'list':
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
    raise commandline.unknown(rest[1], launcher_flags(), config)


def launcher_flags() -> list[str]:
  """The names of the flags of this file."""
  module = flags.FLAGS.find_module_defining_flag(_WORKDIR.name)
  return [flag.name for flag in flags.FLAGS.get_flags_for_module(module)]


def config_of_workdir(named: Mapping[str, Any]) -> ConfigDict:
  """The config in the checkpoint, which may name code only if it is trusted."""
  from dreamer_nnx.run import saved_config

  workdir = paths.parse(_WORKDIR.value, '--workdir')
  if not workdir.exists() and _MODE.value != 'evaluate':
    text = f'name a config file; {workdir} is not there to take it from.'
    raise UserError(text, '--config')
  step = first_step(workdir)
  try:
    return saved_config(workdir, step, trust_config=_TRUST.value, named=named)
  except trust.UntrustedError as error:
    command = shlex.join([*sys.orig_argv, '--trust_config'])
    raise trust.UntrustedError(error.found, f'run:\n  {command}') from error


def source_and_step() -> 'tuple[Source, int | None]':
  """Returns the source of a new run, and the step to go back to, if any."""
  from dreamer_nnx.training.start import Source

  source = Source(
    restore=_RESTORE.value,
    step=_RESTORE_STEP.value,
    include=_INCLUDE.value,
    exclude=_EXCLUDE.value,
    reference=_REFERENCE.value,
  )
  # The step is of the run to start from, if there is one; else of this one.
  return source, None if source.restore else source.step


def first_step(workdir: paths.Path) -> int | None:
  """The step whose config is this run's; None for the latest."""
  from dreamer_nnx.training.start import plan

  source, step = source_and_step()
  if step is None or 'train' not in _MODE.value:
    return step
  return plan(workdir, source.flags(), step, _AGAIN.value).step


def start(config: ConfigDict, workdir: paths.Path) -> None:
  """Trains and evaluates."""
  from dreamer_nnx.run import Run
  from dreamer_nnx.training.checkpoint import find

  source, step = source_and_step()
  if 'train' in _MODE.value:
    how = {
      'profile': _PROFILE.value,
      'again': _AGAIN.value,
      'scratch': _SCRATCH.value,
    }
    with Run(config, workdir, source, step, **how) as session:
      session.train(evaluate='evaluate' in _MODE.value)
    if session.stopped:
      sys.exit(_STOPPED.value)
  else:
    step = None
    if not (source.restore or source.reference):
      root = find(workdir, source.step)
      workdir, step = root.parents[1], int(root.name)
    how = {'scratch': _SCRATCH.value, 'training': False}
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
