"""Flags of the launcher: combinations that are allowed, and unknown flags.

Nothing here reads a flag; the launcher hands over what it was given.
"""

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator

from dreamer_nnx import nodes, overrides, shipped
from dreamer_nnx.config import ConfigDict
from dreamer_nnx.errors import UserError

HELP = """DreamerV3 agents: train, evaluate, show, list, check, play, report.

  python -m dreamer_nnx.main --config=demo --workdir=runs/demo
  python -m dreamer_nnx.main --workdir=runs/demo --mode=evaluate
  python -m dreamer_nnx.main --config=demo:12m --mode=show

Run the same command to resume. Every field of the config is a flag:

  --config.seed=1 --config.train.steps=20000 --noconfig.agent.repval_loss
  --config.env.name=gymnasium --config.env.gymnasium.id=CartPole-v1
  --config.optimizer.name=adamw --config.optimizer.adamw.lr=1e-3

--mode=show prints all fields of what is chosen, with their values.
--mode=list prints what can be chosen, --mode=list --slot=encoder its fields.
--mode=check says what of a run would fail later, and trains nothing.
--mode=check_env steps the environments and says what breaks their contract.
--mode=play shows a page on which you drive the world model of a --workdir.
--mode=report --workdir=A --workdir=B --output=FILE.html makes a page of runs.
"""
HELPS = ('--help', '-help', '-h', '--helpshort', '-helpshort', '-?')
FULL_HELPS = ('--helpfull', '-helpfull')
# Flags that say what a new run starts from, or how one is trained.
STARTING = (
  'restore',
  'restore_include',
  'restore_exclude',
  'restore_again',
  'import_reference',
)
TRAINING = (*STARTING, 'profile', 'stopped_status')
# Modes that make a page, with the flags that are theirs alone.
PAGES = {'play': ('port',), 'report': ('output', 'force', 'nodiagnose')}
COUNT = 'num_processes'
PROCESSES = ('distributed', 'coordinator_address', COUNT, 'process_id')
FILTERS = ('restore_include', 'restore_exclude')
# Names that other tools use for a flag or a field, and the name here.
FLAGS = {
  'logdir': '--workdir',
  'log_dir': '--workdir',
  'output_dir': '--workdir',
  'run_dir': '--workdir',
  'configs': '--config',
  'size': '--config=FILE:SIZE',
  'model_size': '--config=FILE:SIZE',
  'from_checkpoint': '--restore',
  'checkpoint_path': '--restore',
  'evaluate_only': '--mode=evaluate',
  'eval': '--mode=evaluate',
  'load': '--restore',
  'pretrained': '--restore',
  'resume': '--workdir, of a run that goes on',
  'gpu': 'the environment variable JAX_PLATFORMS',
  'tpu': 'the environment variable JAX_PLATFORMS',
  'cpu': 'the environment variable JAX_PLATFORMS',
  'device': 'the environment variable JAX_PLATFORMS',
  'platform': 'the environment variable JAX_PLATFORMS',
}
FIELDS = {
  'learning_rate': 'lr',
  'replay_size': 'capacity',
  'buffer_size': 'capacity',
  'task': 'env.name',
  'environment': 'env.name',
  'env_name': 'env.name',
  'env_id': 'gymnasium.id',
  'num_envs': 'train.envs',
  'total_steps': 'train.steps',
  'num_steps': 'train.steps',
  'max_steps': 'train.steps',
  'total_timesteps': 'train.steps',
  'eval_every': 'evaluate.every',
  'eval_episodes': 'evaluate.episodes',
}


def check_flags(mode: str, given: Collection[str], in_bucket: bool) -> None:
  """Refuses flags that would be without effect.

  Args:
    given: Names of the flags on the command line.
    in_bucket: Whether the workdir is in a bucket.

  Raises:
    UserError: A flag is without effect; the first one is named.
  """
  text = 'has no effect here. Did you mean --workdir?'
  _refuse(('log_dir',), given, lambda _: text)
  if mode == 'evaluate':
    # A run of the reference can be evaluated as it is.
    idle = (name for name in TRAINING if name != 'import_reference')
    _refuse(idle, given, _evaluated)
    if not in_bucket:
      text = 'has no effect when a workdir on this machine is evaluated.'
      _refuse(('scratch',), given, lambda _: f'{text} Leave it out.')
  _check_preflight(mode, given)
  if mode not in ('evaluate', 'train_and_evaluate', 'check'):
    text = f'records evaluations, and --mode={mode} makes none. Leave it out.'
    _refuse(('record',), given, lambda _: text)
  if mode in ('show', 'check_env'):
    text = f'has no effect with --mode={mode}. Leave it out.'
    _refuse((*TRAINING, 'scratch'), given, lambda _: text)
    if mode != 'show':
      _refuse(PROCESSES, given, lambda _: text)
    if 'config' in given:
      text = f'has no effect with --mode={mode} and a --config. Leave it out.'
      _refuse(('restore_step',), given, lambda _: text)
  if mode == 'list':
    text = 'has no effect with --mode=list, which builds nothing. Leave it out.'
    idle = (*TRAINING, *PROCESSES, 'restore_step', 'scratch')
    _refuse(idle, given, lambda _: text)
  else:
    text = 'chooses what --mode=list prints. Add --mode=list, or leave it out.'
    _refuse(('slot',), given, lambda _: text)
  _check_pages(mode, given)
  if 'restore' not in given:
    text = 'chooses what --restore takes, which is not given. Add --restore=RUN'
    _refuse(FILTERS, given, lambda _: f'{text}, or leave it out.')
  if 'config' in given:
    text = 'the config is that of --config, and no saved one is read.'
    _refuse(('trust_config',), given, lambda _: f'{text} Leave it out.')


def _check_pages(mode: str, given: Collection[str]) -> None:
  """Refuses flags without effect of, or beside, the modes that make pages."""
  for name, own in PAGES.items():
    if mode != name:
      text = f'is of --mode={name}. Add that, or leave this out.'
      _refuse(own, given, lambda _, text=text: text)
  if mode in PAGES:
    reads = 'plays what is in --workdir' if mode == 'play' else 'reads runs'
    text = f'has no effect with --mode={mode}, which {reads}. Leave it out.'
    idle = ('config', *TRAINING, *PROCESSES, 'scratch')
    _refuse(idle, given, lambda _: text)
    if mode == 'report':
      _refuse(('restore_step',), given, lambda _: text)


def _check_preflight(mode: str, given: Collection[str]) -> None:
  if mode != 'check':
    text = 'goes with --mode=check. Leave it out.'
    _refuse(('nocompile',), given, lambda _: text)
    return
  text = 'has no effect with --mode=check, which is one process: '
  text += '--num_processes says how many the run will have. Leave it out.'
  _refuse([name for name in PROCESSES if name != COUNT], given, lambda _: text)


def _refuse(
  names: Iterable[str], given: Collection[str], text: Callable[[str], str]
) -> None:
  for name in names:
    if name in given:
      raise UserError(text(name), f'--{name}')


def _evaluated(name: str) -> str:
  text = 'has no effect with --mode=evaluate, which plays what is in --workdir.'
  named = 'Name that run by --workdir' if name == 'restore' else 'Leave it out'
  return f'{text} {named}.'


def unknown(
  argument: str, flags: Iterable[str], config: ConfigDict | None = None
) -> UserError:
  """The error for an argument that is no flag, with what may be meant.

  Args:
    flags: Names of all flags.
    config: The config whose fields may be meant; without one none is.
  """
  dashed, _, value = argument.partition('=')
  word = dashed.lstrip('-')
  if argument == '--':
    return UserError('nothing is read after it. Leave it out.', '--')
  if not argument.startswith('-'):
    is_config = argument.partition(':')[0] in shipped.shipped()
    meant = f'--config={argument}' if is_config or '.py' in argument else ''
    meant = f'--{argument}' if argument.startswith('config.') else meant
    hint = f' Did you mean {meant}?' if meant else ''
    return UserError(f'{argument!r} is no flag.{hint}', 'command line')
  return UserError(
    f'there is no such flag.{_meant(word, value, list(flags), config)}', dashed
  )


def _meant(
  word: str, value: str, flags: list[str], config: ConfigDict | None
) -> str:
  if word in FLAGS:
    return f' Did you mean {FLAGS[word]}?'
  for name in _readings(word):
    if field := _field(name, value, config):
      return f' Did you mean {field}?'
  if close := difflib.get_close_matches(word, sorted(flags), n=1):
    return f" Did you mean '--{close[0]}'?"
  names = set()
  if config is not None:
    fields = nodes.leaves(config)
    names = {path.rpartition('.')[2] for path in fields} | set(config)
  # Less than that is chance, among so many.
  if close := difflib.get_close_matches(word, sorted(names), n=1, cutoff=0.7):
    return f' Did you mean {_field(close[0], value, config)}?'
  return ' --help lists all.'


def _readings(word: str) -> Iterator[str]:
  """The names of fields that a word may stand for, the likeliest first."""
  word = word.replace('-', '_').lower()
  yield FIELDS.get(word, word)
  parts = word.split('_')
  for i in range(1, len(parts)):
    yield f'{"_".join(parts[:i])}.{"_".join(parts[i:])}'


def _field(word: str, value: str, config: ConfigDict | None) -> str:
  """The flag of the field that a word names; empty if none does."""
  if config is None or not word:
    return ''
  if isinstance(node := config.get(word), ConfigDict):
    tag = next((tag for tag in ('name', 'names') if tag in node), 'FIELD')
    known = bool(value) and value in node
    return f'--config.{word}.{tag}{f"={value}" if known else ""}'
  for section, node in config.items():
    if isinstance(node, ConfigDict) and word in node and 'names' in node:
      names = ','.join(dict.fromkeys((*node.names, word)))
      return f'--config.{section}.names={names}'
    known = isinstance(node, ConfigDict) and {'name', word} <= set(node)
    if known and word != 'name':
      return f'--config.{section}.name={word}'
  found = overrides.field_in(config, word)
  return found and f'--{found}'
