"""Files for a new component: the component, a config and a test that pass."""

import re
from importlib import resources
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


def write(slot: str, name: str, folder: Path) -> list[Path]:
  """Writes `<name>.py`, `<name>_config.py` and `test_<name>.py`.

  Raises:
    UserError: There is no such slot, the name is no name of a module, or of a
      component that there is, or a file exists.
  """
  slots = {slot.name: slot for slot in SLOTS}
  registered = pick(slots, slot, 'SLOT').names()
  if not re.fullmatch(r'[a-z][a-z0-9_]*', name):
    what = 'must be small letters, digits and underscores: my_encoder.'
    raise UserError(what, 'NAME', name)
  if name in registered:
    what = f'is a {slot} that there is: {", ".join(registered)}.'
    raise UserError(what, 'NAME', name)
  path, chosen = PATHS[slot], name
  if path.endswith('.names'):
    chosen = (*BESIDE.get(slot, ()), name)
  words = dict(slot=slot, name=name, path=path, value=chosen)
  files = {
    f'{name}.py': component(slot, name),
    f'{name}_config.py': CONFIG.format(**words),
    f'test_{name}.py': TEST.format(**words),
  }
  return _write(folder, files)


def component(slot: str, name: str) -> str:
  """The text of a component of this name."""
  text = resources.files('dreamer_nnx.templates').joinpath(f'{slot}.py')
  source = text.read_text('utf-8')
  title = ''.join(part.capitalize() for part in name.split('_'))
  # `Mine`, `'mine'` and `mine`, but no part of another word.
  source = re.sub(r'\bMine\b', title, source)
  return re.sub(r'\bmine\b', name, source)


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
