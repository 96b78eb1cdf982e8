"""Checks that the processes of a run have the same program and config."""

import hashlib
import importlib.metadata
import pathlib
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dreamer_nnx.errors import UserError
from dreamer_nnx.training import processes

PACKAGES = ('dreamer-nnx', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint')
SHOWN = 10
Identity = Mapping[str, str]


class DisagreementError(UserError):
  """The processes of a run are not alike."""


def identity(
  config: Mapping[str, Any], plugins: Iterable[str], more: Mapping[str, Any]
) -> dict[str, str]:
  """Describes what has to be the same in all processes: name to text.

  Args:
    config: Dotted path to value, of every field.
    plugins: Names of imported modules; what counts is their text.
    more: Flags by name.
  """
  found = {f'config.{path}': repr(value) for path, value in config.items()}
  found |= {f'--{name}': repr(value) for name, value in more.items()}
  found['python'] = platform.python_version()
  found |= {f'package {name}': _version(name) for name in PACKAGES}
  return found | {f'plugin {name}': _text_of(name) for name in plugins}


def check(local: Identity) -> None:
  """Compares the identities of all processes, before anything is compiled.

  Raises:
    DisagreementError: They differ; raised in all, with what differs and where.
  """
  if lines := differences(processes.gather(local)):
    shown = ''.join(f'\n  {line}' for line in lines[:SHOWN])
    more = len(lines) - SHOWN
    raise DisagreementError(
      f'the processes differ:{shown}'
      + (f'\n  and {more} more' if more > 0 else '')
      + '\nStart all of them by the same command, with the same packages.',
      '--distributed',
    )


def differences(identities: Sequence[Identity]) -> list[str]:
  """A line for each name that is not the same in all processes."""
  lines = []
  for name in sorted(set().union(*identities)):
    places: dict[str, list[int]] = {}
    for process, values in enumerate(identities):
      places.setdefault(values.get(name, 'absent'), []).append(process)
    if len(places) > 1:
      parts = [f'{value} in {_listed(at)}' for value, at in places.items()]
      lines.append(f'{name} is {", ".join(parts)}')
  return lines


def _listed(numbers: Sequence[int]) -> str:
  shown = ' '.join(map(str, numbers[:SHOWN]))
  kind = 'process' if len(numbers) == 1 else 'processes'
  return f'{kind} {shown}{" ..." if len(numbers) > SHOWN else ""}'


def _version(package: str) -> str:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return 'not installed'


def _text_of(module: str) -> str:
  """A hash of a module's source, and of all that are in its package.

  Of an entry point its name stands alone.
  """
  found = sys.modules.get(module)
  file = getattr(found, '__file__', None)
  files = [pathlib.Path(file)] if file else []
  for folder in getattr(found, '__path__', ()):
    files += sorted(pathlib.Path(folder).rglob('*.py'))
  if not files:
    return 'imported'
  text = hashlib.sha256()
  for path in files:
    text.update(path.read_bytes())
  return text.hexdigest()[:12]
