"""Packages of extras: which are missing, and how to install them."""

import importlib
import importlib.metadata
from types import ModuleType
from typing import Self

from packaging.requirements import Requirement

from dreamer_nnx.errors import UserError

# What an extra installs, as in pyproject.toml: those of suites, and `report`.
NEEDED = {
  'atari': ('ale-py>=0.12',),
  'bsuite': ('bsuite>=0.3.6',),
  'crafter': ('crafter>=1.8.3', 'numba>=0.60'),
  'dm-env': ('dm-env>=1.6',),
  'dmc': ('dm_control>=1.0.50', 'mujoco>=3.17,<4'),
  'memory-maze': (
    'memory-maze>=1.0.3',
    'dm_control>=1.0.50',
    'mujoco>=3.17,<4',
  ),
  'minatar': ('minatar>=1.0.15',),
  'minigrid': ('minigrid>=3',),
  'mujoco': ('mujoco>=3.17,<4', 'imageio>=2.14'),
  'play': ('starlette>=0.40', 'uvicorn>=0.30', 'websockets>=13'),
  'procgen': ('envpool>=1.2.5,<1.2.6',),
  'report': ('bokeh>=3.8', 'jinja2>=3.1', 'scipy>=1.15'),
}


class PackageError(UserError):
  """Packages that are missing; its message names the place by itself."""

  def within(self, path: str) -> Self:
    return self


def check(extra: str, where: str) -> None:
  """Checks that all packages of an extra are installed, in versions that work.

  Args:
    extra: A key of `NEEDED`.
    where: What of the config needs them: "config.env.name = 'crafter'".

  Raises:
    PackageError: One is missing, or of another version; with the command that
      installs them.
  """
  wrong = [text for line in NEEDED[extra] if (text := _wrong(line))]
  if wrong:
    raise PackageError(_remedy(extra, where, ', '.join(wrong)))


def load(module: str, extra: str, where: str) -> ModuleType:
  """Imports a module of a package that an extra installs; see `check`.

  Raises:
    PackageError: A package is missing, or the module does not import.
  """
  check(extra, where)
  try:
    return importlib.import_module(module)
  except ImportError as error:
    text = f'{module} is installed but cannot be imported: {error}'
    raise PackageError(_remedy(extra, where, text)) from error


def _wrong(line: str) -> str:
  """Returns what is wrong with a package; empty if nothing is."""
  needed = Requirement(line)
  found = _installed(needed)
  if not found:
    return f'{needed.name} is not installed'
  return '' if _works(needed, found) else f'{needed.name} is {found}'


def _installed(needed: Requirement) -> str:
  """Returns the version of a package; empty if there is none."""
  try:
    return importlib.metadata.version(needed.name)
  except importlib.metadata.PackageNotFoundError:
    return ''


def _works(needed: Requirement, found: str) -> bool:
  return needed.specifier.contains(found, prereleases=True)


def _remedy(extra: str, where: str, wrong: str) -> str:
  names = ' '.join(map(_asked, NEEDED[extra]))
  return (
    f'{where} needs: pip install {names} (in a checkout: pip '
    f"install -e '.[{extra}]'). Here {wrong}."
  )


def _asked(line: str) -> str:
  """Names a package so that pip installs a version that works."""
  needed = Requirement(line)
  found = _installed(needed)
  # By its plain name, pip leaves the version that is there.
  bounds = '<' in line or (found and not _works(needed, found))
  return f"'{line}'" if bounds else needed.name
