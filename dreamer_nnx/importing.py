"""Imports of modules that a config names, with the reason if one fails."""

import importlib
from types import ModuleType

from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import RegistryError


class MissingModuleError(RegistryError):
  """A module that was named is not there."""


def load(module: str, where: str, name: str) -> ModuleType:
  """Imports a module that a config names.

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
    return importlib.import_module(module)
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
