"""The launcher's own flags: which go together, and what others are meant.

Nothing here reads a flag; the launcher hands over what it was given.
"""

import difflib
from collections.abc import Callable, Collection, Iterable

from dreamer_nnx import nodes, overrides
from dreamer_nnx.config import ConfigDict
from dreamer_nnx.errors import UserError

HELP = """DreamerV3 agents: train, evaluate, show.

  python -m dreamer_nnx.main --config=configs/demo.py --workdir=runs/demo
  python -m dreamer_nnx.main --workdir=runs/demo --mode=evaluate
  python -m dreamer_nnx.main --config=configs/demo.py:12m --mode=show

Run the same command to resume. Every field of the config is a flag:

  --config.seed=1 --config.train.steps=20000 --noconfig.agent.repval_loss
  --config.env.name=gymnasium --config.env.gymnasium.id=CartPole-v1
  --config.optimizer.name=adamw --config.optimizer.adamw.lr=1e-3

--mode=show prints all fields of what is chosen, with their values.
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
FILTERS = ('restore_include', 'restore_exclude')
# What is called otherwise elsewhere: another name of a flag or of a field.
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
}
FIELDS = {
  'learning_rate': 'lr',
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
    UserError: Of the first one.
  """
  text = 'has no effect here. Did you mean --workdir?'
  _refuse(('log_dir',), given, lambda _: text)
  if mode == 'evaluate':
    _refuse(TRAINING, given, _evaluated)
    if not in_bucket:
      text = 'has no effect when a workdir on this machine is evaluated.'
      _refuse(('scratch',), given, lambda _: f'{text} Leave it out.')
  if mode == 'show':
    text = 'has no effect with --mode=show. Leave it out.'
    _refuse((*TRAINING, 'scratch'), given, lambda _: text)
    if 'config' in given:
      text = 'has no effect with --mode=show and a --config. Leave it out.'
      _refuse(('restore_step',), given, lambda _: text)
  if 'restore' not in given:
    text = 'chooses what --restore takes, which is not given. Add --restore=RUN'
    _refuse(FILTERS, given, lambda _: f'{text}, or leave it out.')
  if 'config' in given:
    text = 'the config is that of --config, and no saved one is read.'
    _refuse(('trust_config',), given, lambda _: f'{text} Leave it out.')


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
    flags: Names of those there are.
    config: Whose fields may be meant; without one none is.
  """
  dashed, _, value = argument.partition('=')
  word = dashed.lstrip('-')
  if argument == '--':
    return UserError('nothing is read after it. Leave it out.', '--')
  if not argument.startswith('-'):
    hint = f' Did you mean --config={argument}?' if '.py' in argument else ''
    return UserError(f'{argument!r} is no flag.{hint}', 'command line')
  return UserError(
    f'there is no such flag.{_meant(word, value, list(flags), config)}', dashed
  )


def _meant(
  word: str, value: str, flags: list[str], config: ConfigDict | None
) -> str:
  if word in FLAGS:
    return f' Did you mean {FLAGS[word]}?'
  fields = {} if config is None else nodes.leaves(config)
  if field := _field(FIELDS.get(word, word), value, config):
    return f' Did you mean {field}?'
  names = {path.rpartition('.')[2] for path in fields} | set(flags)
  close = difflib.get_close_matches(word, sorted(names), n=1)
  if not close:
    return ' --help lists all.'
  if close[0] in flags:
    return f" Did you mean '--{close[0]}'?"
  return f' Did you mean {_field(close[0], value, config)}?'


def _field(word: str, value: str, config: ConfigDict | None) -> str:
  """The flag of the field that a word names; empty if none does."""
  if config is None or not word:
    return ''
  if isinstance(node := config.get(word), ConfigDict):
    tag = next((tag for tag in ('name', 'names') if tag in node), 'FIELD')
    slot = node.get(value) if value else None
    return f'--config.{word}.{tag}{f"={value}" if slot is not None else ""}'
  found = overrides.field_in(config, word)
  return found and f'--{found}'
