"""Plugins: modules whose import registers components."""

import importlib.metadata
import sys
from collections.abc import Iterable

from dreamer_nnx.importing import MissingModuleError, load
from dreamer_nnx.nodes import ConfigError
from dreamer_nnx.registry import suggest

GROUP = 'dreamer_nnx.plugins'
FIELD = 'config.plugins'


def load_plugins(names: Iterable[str]) -> tuple[str, ...]:
  """Imports modules, or entry points of the group `dreamer_nnx.plugins`.

  Raises:
    ConfigError: A name is neither.
    Exception: What a plugin itself raises, with a note that names it.
  """
  names = tuple(names)
  for name in names:
    if not isinstance(name, str):
      raise ConfigError('must be a tuple of str.', FIELD, names)
    _load_plugin(name)
  return names


def module_of(name: str) -> str:
  """Returns the module of a plugin: itself, or that of the entry point."""
  if name in sys.modules:
    return name
  return importlib.metadata.entry_points(group=GROUP)[name].module


def _load_plugin(name: str) -> None:
  try:
    load(name, FIELD, name)
    return
  except MissingModuleError as error:
    missing = error
  found = importlib.metadata.entry_points(group=GROUP)
  if name not in found.names:
    raise ConfigError(
      f'{name!r} is neither a module that can be imported nor an entry point '
      f'of the group {GROUP!r}.{suggest(name, found.names)}',
      FIELD,
    ) from missing
  load(found[name].module, FIELD, name)
  found[name].load()
