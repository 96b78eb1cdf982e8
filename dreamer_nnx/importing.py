"""Imports of modules that a config names, with the reason if one fails.

A module, or a package around it, may say by `DREAMER_NNX_CONTRACTS = 2` which
version of `dreamer_nnx.contracts` it is written for.
"""

import importlib
import sys
from types import ModuleType

from dreamer_nnx.errors import UserError
from dreamer_nnx.notices import warn_once
from dreamer_nnx.schema import RegistryError

PACKAGE = __name__.partition('.')[0]
MARK = 'DREAMER_NNX_CONTRACTS'
CHANGES = 'CHANGELOG.md and docs/plugins.md say what changed'


class MissingModuleError(RegistryError):
  """A module that was named is not there."""


def load(module: str, where: str, name: str) -> ModuleType:
  """Imports a module that a config names.

  One that says it is for other contracts is warned about.

  Args:
    where: The config path of `name`, which is or contains the module's.

  Raises:
    MissingModuleError: There is no such module.
    Exception: What the module itself raises, with a note that names it.
  """
  if not all(part.isidentifier() for part in module.split('.')):
    text = f'{module!r} is not the name of a module.'
    raise MissingModuleError(text, where, name)
  try:
    found = importlib.import_module(module)
  except UserError as error:
    error.within(where)
    raise
  except Exception as error:
    missing = isinstance(error, ModuleNotFoundError) and error.name
    # A module that the named one lacks is a fault in it.
    if missing and f'{module}.'.startswith(f'{error.name}.'):
      text = f'there is no module {error.name!r} to import.'
      raise MissingModuleError(text, where, name) from error
    note = f'while importing {module!r}, named by {where} = {name!r}'
    if isinstance(error, OSError):
      # Not the failure of a disk that its message explains.
      raise ImportError(note) from error
    error.add_note(note)
    raise
  if note := contracts_note(module, silent=True):
    warn_once(note)
  return found


def contracts_note(module: str, *, silent: bool = False) -> str:
  """Says that a module is for other contracts; empty if it is for these.

  Args:
    silent: Whether one that says nothing of them is passed over.
  """
  said = _said(module)
  if module.partition('.')[0] == PACKAGE or (silent and said is None):
    return ''
  # Imported here because the contracts import JAX.
  from dreamer_nnx.contracts import VERSION

  if said == VERSION:
    return ''
  if said is None:
    text = f'does not say by {MARK} which contracts it is for'
  else:
    text = f'is for version {said} of the contracts ({MARK})'
  return f'{module} {text}; here they are of version {VERSION}. {CHANGES}.'


def _said(module: str) -> object:
  """The version that a module or a package around it says; None without."""
  while module:
    found = sys.modules.get(module)
    if found is not None and hasattr(found, MARK):
      return getattr(found, MARK)
    module = module.rpartition('.')[0]
  return None
