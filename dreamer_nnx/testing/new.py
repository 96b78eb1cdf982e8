"""Files for a new component: the component, a config and a test that pass."""

import keyword
import re
import sys
from importlib import metadata, resources
from pathlib import Path

from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import pick
from dreamer_nnx.slots import SLOTS

# The field of a config that chooses a component of each slot.
PATHS = {
  'encoder': 'encoder.name',
  'dynamics': 'dynamics.name',
  'stochastic': 'dynamics.rssm.stochastic.name',
  'decoder': 'decoder.name',
  'behavior': 'behavior.name',
  'policy': 'behavior.actor_critic.policy.name',
  'objective': 'objectives.names',
  'weighting': 'weighting.name',
  'augmentation': 'augmentations.names',
  'head': 'reward.head.name',
  'normalizer': 'behavior.actor_critic.retnorm.name',
  'optimizer': 'optimizer.name',
  'env': 'env.name',
  'replay': 'replay.name',
  'selector': 'replay.chunked.selectors.names',
  'logger': 'loggers.names',
  'callback': 'callbacks.names',
}
# Names that stay beside the new one.
BESIDE = {'logger': ('terminal', 'jsonl')}

CONFIG = '''"""Trains with the {slot} `{name}`, at a small size."""

from dreamer_nnx import config as configs

PATTERNS = {{
  '{path}': {value!r},
}}


def get_config(size: str = '1m') -> configs.ConfigDict:
  config = configs.base(size, plugins=('{name}',))
  configs.apply(config, PATTERNS)
  return config
'''

TEST = '''"""Tests of the {slot} `{name}`."""

import {name}
import {name}_config
from dreamer_nnx import config as configs
from dreamer_nnx import testing


def test_keeps_its_promises():
  testing.check_{slot}('{name}')


def test_config_chooses_it():
  config = configs.resolve({name}_config.get_config())
  assert config.plugins == ({name}.__name__,)
'''

REMOTE_CONFIG = '''"""Trains in what `{name}_server` serves, at a small size."""

from dreamer_nnx import config as configs

PATTERNS = {{
  'env.name': 'custom',
  'env.custom.make': '{name}:make',
  # Where it runs; or "command='python3.8 {name}_server.py'" to start it here.
  'env.custom.arguments': ("address='127.0.0.1:7000'",),
  'env.custom.workers': 'async',
}}


def get_config(size: str = '1m') -> configs.ConfigDict:
  config = configs.base(size)
  configs.apply(config, PATTERNS)
  return config
'''

REMOTE_TEST = '''"""Tests of the environments of `{name}_server.py`."""

import pathlib
import shlex
import sys

import {name}
import {name}_config
from dreamer_nnx import config as configs
from dreamer_nnx import testing

SERVER = pathlib.Path({name}.__file__).with_name('{name}_server.py')
COMMAND = shlex.join((sys.executable, str(SERVER)))


def test_keeps_its_promises():
  arguments = (f'command={{COMMAND!r}}',)
  testing.check_env('custom', make='{name}:make', arguments=arguments)


def test_config_chooses_it():
  config = configs.resolve({name}_config.get_config())
  assert config.env.custom.make == '{name}:make'
'''


def write(
  slot: str, name: str, folder: Path, remote: bool = False
) -> list[Path]:
  """Writes `<name>.py`, `<name>_config.py` and `test_<name>.py`.

  Args:
    remote: Of environments in another process, whose server it writes, too.

  Raises:
    UserError: There is no such slot, the name is no name of a module, or that
      of a module or component that there is, or a file exists.
  """
  slots = {slot.name: slot for slot in SLOTS}
  registered = pick(slots, slot, 'SLOT').names()
  _check_name(name)
  if name in registered:
    what = f'is a {slot} that there is: {", ".join(registered)}.'
    raise UserError(what, 'NAME', name)
  if remote:
    return _write_remote(slot, name, folder)
  path, chosen = PATHS[slot], name
  if path.endswith('.names'):
    chosen = (*BESIDE.get(slot, ()), name)
  words = dict(slot=slot, name=name, path=path, value=chosen)
  files = {
    f'{name}.py': template(slot, name),
    f'{name}_config.py': CONFIG.format(**words),
    f'test_{name}.py': TEST.format(**words),
  }
  return _write(folder, files)


def _check_name(name: str) -> None:
  if not re.fullmatch(r'[a-z][a-z0-9_]*', name):
    what = 'must be small letters, digits and underscores: my_encoder.'
    raise UserError(what, 'NAME', name)
  hidden = sys.stdlib_module_names | metadata.packages_distributions().keys()
  if keyword.iskeyword(name) or name in hidden:
    what = 'is a word or a module of Python, which must not be hidden: my_'
    raise UserError(f'{what}{name}.', 'NAME', name)


def _write_remote(slot: str, name: str, folder: Path) -> list[Path]:
  if slot != 'env':
    raise UserError('is for environments: new env NAME --remote.', '--remote')
  files = {
    f'{name}.py': template('env_client', name),
    f'{name}_server.py': template('env_server', name),
    f'{name}_config.py': REMOTE_CONFIG.format(name=name),
    f'test_{name}.py': REMOTE_TEST.format(name=name),
  }
  return _write(folder, files)


def template(file: str, name: str) -> str:
  """The text of a template, with this name in place of `mine`."""
  text = resources.files('dreamer_nnx.templates').joinpath(f'{file}.py')
  source = text.read_text('utf-8')
  title = ''.join(part.capitalize() for part in name.split('_'))
  # `Mine`, `'mine'` and `mine`, but no part of another word.
  source = re.sub(r'\bMine\b', title, source)
  return re.sub(r'\bmine(?=\b|_server\b)', name, source)


def _write(folder: Path, files: dict[str, str]) -> list[Path]:
  paths = {folder / name: text for name, text in files.items()}
  for path in paths:
    if path.exists():
      what = 'exists, and is left as it is. Choose another name or folder.'
      raise UserError(f'{path} {what}')
  folder.mkdir(parents=True, exist_ok=True)
  for path, text in paths.items():
    path.write_text(text, 'utf-8')
  return list(paths)
