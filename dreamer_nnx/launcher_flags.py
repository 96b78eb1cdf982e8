"""The flags of the launcher.

`commandline` has which of them go together.
"""

from absl import flags

from dreamer_nnx import paths
from dreamer_nnx.errors import UserError

MODES = ('train', 'evaluate', 'train_and_evaluate')
MODES += ('show', 'list', 'check', 'check_env', 'play', 'report')
CONFIG = flags.DEFINE_string(
  'config',
  None,
  'Config file or the name of a shipped one, and the argument of its '
  'get_config: path/to/FILE.py[:ARG] or NAME[:ARG]. Fields are set by '
  '--config.path.to.field=value.',
)
_WORKDIRS = flags.DEFINE_multi_string(
  'workdir',
  None,
  'Folder of checkpoints, replay, metrics and videos; --mode=report takes '
  'several, each by a flag of its own.',
)
MODE = flags.DEFINE_enum('mode', 'train_and_evaluate', MODES, 'What to do.')
SLOT = flags.DEFINE_string(
  'slot',
  '',
  'What --mode=list lists: a slot, a section of the config, or all; the slots '
  'themselves if not given.',
)
OUTPUT = flags.DEFINE_string(
  'output', None, 'HTML file that --mode=report writes.'
)
FORCE = flags.DEFINE_bool(
  'force', False, '--mode=report overwrites the file that is there.'
)
NODIAGNOSE = flags.DEFINE_bool(
  'nodiagnose',
  False,
  'With --mode=report: makes the page of the logs alone, and looks at no '
  'checkpoint.',
)
RESTORE = flags.DEFINE_string(
  'restore', None, 'Workdir or checkpoint whose arrays a new run starts from.'
)
RESTORE_STEP = flags.DEFINE_integer(
  'restore_step', None, 'Step of the checkpoint; the latest if not given.'
)
AGAIN = flags.DEFINE_bool(
  'restore_again',
  False,
  'Goes back, or starts from the named run, although the workdir records that '
  'it was done before.',
)
INCLUDE = flags.DEFINE_string(
  'restore_include', '.*', 'Regular expression: arrays to take by --restore.'
)
EXCLUDE = flags.DEFINE_string(
  'restore_exclude', '', 'Regular expression: arrays not to take.'
)
REFERENCE = flags.DEFINE_string(
  'import_reference',
  None,
  'Log or checkpoint folder of a danijar/dreamerv3 run to start from.',
)
SCRATCH = flags.DEFINE_string(
  'scratch',
  '',
  'Folder of this machine for a replay that does not fit into memory (by '
  'default WORKDIR/replay/pool) and for what is on its way to a workdir in a '
  'bucket (there, for both, by default one for temporary files).',
)
CACHE = flags.DEFINE_string(
  'compilation_cache',
  '~/.cache/dreamer_nnx/xla',
  'Folder of compiled programs, so that a second start compiles nothing; '
  'empty for none.',
)
DISTRIBUTED = flags.DEFINE_bool(
  'distributed',
  False,
  'This is one of several processes that train together.',
)
COORDINATOR = flags.DEFINE_string(
  'coordinator_address',
  None,
  'host:port of the first process, where no cluster says it.',
)
PROCESSES = flags.DEFINE_integer(
  'num_processes',
  None,
  'How many processes train together. With --mode=check, how many the run will '
  'have, each on a machine like this one.',
  lower_bound=1,
)
PROCESS = flags.DEFINE_integer(
  'process_id', None, 'Which of them this is, from 0.'
)
STOPPED = flags.DEFINE_integer(
  'stopped_status',
  0,
  'Exit status after a signal ended training early; one that is not 0 has a '
  'cluster start it again.',
  lower_bound=0,
  upper_bound=255,
)
PROFILE = flags.DEFINE_bool(
  'profile', False, 'Trace a few updates into WORKDIR/profile.'
)
RECORD = flags.DEFINE_bool(
  'record',
  False,
  'Evaluations write a video of their first episode into WORKDIR/videos, with '
  'what the model predicts.',
)
PORT = flags.DEFINE_integer(
  'port',
  0,
  'Port of this machine that the page of --mode=play has; 0 for any free one.',
  lower_bound=0,
  upper_bound=65_535,
)
NOCOMPILE = flags.DEFINE_bool(
  'nocompile', False, 'With --mode=check: compiles nothing.'
)
TRUST = flags.DEFINE_bool(
  'trust_config',
  False,
  'The config in the checkpoint may import what is not of this package: only '
  'where you trust whoever made it.',
)
DEBUG = flags.DEFINE_bool('debug', False, 'Show tracebacks of all errors.')


def workdirs() -> list[str]:
  """The folders that --workdir names, in order."""
  return _WORKDIRS.value or []


def workdir() -> str:
  """The last folder that --workdir names; empty for none."""
  return workdirs()[-1] if workdirs() else ''


def need_workdir() -> paths.Path:
  """The folder that --workdir names.

  Raises:
    UserError: It names none.
  """
  if not workdir():
    raise UserError('name a folder, e.g. runs/demo.', '--workdir')
  return paths.parse(workdir(), '--workdir')


def names() -> list[str]:
  """Names the flags of this file."""
  module = flags.FLAGS.find_module_defining_flag(MODE.name)
  return [flag.name for flag in flags.FLAGS.get_flags_for_module(module)]


def text(full: bool) -> str:
  """Describes these flags, or with `full` those of libraries, too."""
  module = flags.FLAGS.find_module_defining_flag(MODE.name)
  return flags.FLAGS.get_help() if full else flags.FLAGS.module_help(module)


def given() -> set[str]:
  """Names the flags that are on the command line."""
  every = [flags.FLAGS[name] for name in flags.FLAGS]
  return {f.name for f in every if f.present and f.value is not False}


def make_absolute() -> None:
  """Makes all paths absolute, for environments may change the current folder.

  Raises:
    UserError: One is empty, or no path.
  """
  present = given()
  for flag in (RESTORE, REFERENCE, SCRATCH, CACHE, OUTPUT):
    if flag.value:
      flags.FLAGS[flag.name].value = _absolute(flag.value, flag.name)
    elif flag.name in present and flag.default is None:
      what = 'file' if flag is OUTPUT else 'folder'
      raise UserError(f'is empty. Name a {what}.', f'--{flag.name}')
  if not all(workdirs()):
    raise UserError('is empty. Name a folder.', '--workdir')
  if workdirs():
    found = [_absolute(name, 'workdir') for name in workdirs()]
    flags.FLAGS['workdir'].value = found


def _absolute(path: str, name: str) -> str:
  parse = paths.local if name == SCRATCH.name else paths.parse
  return str(parse(path, f'--{name}'))
