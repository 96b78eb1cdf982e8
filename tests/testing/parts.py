"""The templates as components, without registering them."""

import functools
import sys
from importlib import resources
from types import ModuleType

PACKAGE = 'tests.testing.made'


@functools.cache
def module(slot: str) -> ModuleType:
  """The template of a slot as a module, in which nothing is registered."""
  text = resources.files('dreamer_nnx.templates').joinpath(f'{slot}.py')
  source = text.read_text('utf-8').replace(
    f"@{slot.upper()}.register('mine')\n", ''
  )
  made = ModuleType(f'{PACKAGE}_{slot}')
  sys.modules[made.__name__] = made
  exec(compile(source, made.__name__, 'exec'), vars(made))
  return made


def component(slot: str):
  """The template's builder."""
  found = vars(module(slot))
  return found.get('Mine') or found['mine']


def name(slot: str) -> str:
  """Its name in a config."""
  builder = component(slot)
  return f'{builder.__module__}:{builder.__qualname__}'
