"""Files of a workdir about its run: the config, and how it was started."""

import contextlib
import datetime
import importlib.metadata
import json
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from dreamer_nnx import paths, versions
from dreamer_nnx.training import processes

CONFIG, STARTS = 'config.json', 'run.json'
PACKAGES = (
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'orbax-checkpoint',
  'numpy',
  'gymnasium',
  'ml-collections',
)
# A file of more bytes is not one of ours.
LARGEST = 10_000_000
# Git waits for no one.
SECONDS = 10


def write(
  workdir: paths.Path,
  config: str,
  env_steps: int,
  devices: str,
  log: Callable[[dict[str, int]], None] = lambda metrics: None,
) -> None:
  """Writes the config and adds this start to the list of starts.

  Does nothing but in the first process.

  Args:
    config: The text of the resolved config.
    env_steps: Environment steps at which the run goes on.
    devices: Its devices, in words.
    log: Is told of each start after the first, so that readers know from where
      on earlier lines no longer hold.

  Raises:
    OSError: The workdir cannot be written.
  """
  if not processes.first():
    return
  starts = [*_read(workdir / STARTS), start(env_steps, devices)]
  paths.write(workdir / CONFIG, config.encode())
  text = json.dumps(starts, indent=2) + '\n'
  paths.write(workdir / STARTS, text.encode())
  if len(starts) > 1:
    log({'run/starts': len(starts)})


def start(env_steps: int, devices: str) -> dict[str, Any]:
  """Describes this process, JSON-able."""
  now = datetime.datetime.now(datetime.UTC)
  return {
    'time': now.isoformat(timespec='seconds'),
    'command': shlex.join(sys.orig_argv),
    'folder': paths.here(),
    'env_steps': env_steps,
    'devices': devices,
    'processes': processes.count(),
    **commit(pathlib.Path(__file__).parent),
    'python': platform.python_version(),
    'packages': {
      'dreamer-nnx': versions.PACKAGE,
      **{name: _version(name) for name in PACKAGES},
    },
  }


def commit(folder: pathlib.Path) -> dict[str, Any]:
  """The commit of a folder's tracked files, and whether any was changed.

  None for both where git does not track the folder.
  """
  shown = _git(folder, 'ls-files', '--error-unmatch', '--', '.')
  if not shown:
    return {'commit': None, 'changed': None}
  changed = _git(folder, 'status', '--porcelain', '--untracked-files=no')
  name = (_git(folder, 'rev-parse', 'HEAD') or '').strip()
  return {'commit': name or None, 'changed': bool(changed)}


def _git(folder: pathlib.Path, *arguments: str) -> str | None:
  command = ['git', '-C', str(folder), *arguments]
  try:
    done = subprocess.run(
      command, capture_output=True, text=True, timeout=SECONDS, check=False
    )
  except (OSError, subprocess.TimeoutExpired):
    return None
  return None if done.returncode else done.stdout


def _version(package: str) -> str | None:
  with contextlib.suppress(importlib.metadata.PackageNotFoundError):
    return importlib.metadata.version(package)
  return None


def _read(path: paths.Path) -> list:
  """The starts before this one; none if the file does not hold a list."""
  try:
    if paths.size(path) > LARGEST:
      return []
    found = json.loads(paths.read(path))
  except (FileNotFoundError, ValueError, RecursionError):
    return []
  return found if isinstance(found, list) else []
