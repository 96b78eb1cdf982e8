"""Capacity in steps, and the choice between memory and disk."""

import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dreamer_nnx import paths
from dreamer_nnx.errors import UserError
from dreamer_nnx.replay import chunkfile, memory, selectors
from dreamer_nnx.replay.chunks import step_bytes
from dreamer_nnx.replay.memory import gib
from dreamer_nnx.replay.storage import Disk, Memory, Storage

WHERE = 'config.replay.chunked'
# The share of free memory that `auto` takes; training needs some, too.
SHARE = 0.75
# Bytes a step of the tables of files, of changes and of entries.
TABLES = 13


class Plan(NamedTuple):
  """Groups of chunks, their storage, and what to tell the user about it."""

  groups: int
  storage: Storage
  notes: tuple[str, ...]


def plan(settings: Any) -> Plan:
  """Decides for the settings of a replay.

  Raises:
    UserError: They do not fit each other, or memory.
  """
  check_formats(settings.spaces)
  unit = settings.num_envs * settings.chunk_size
  groups = _count_groups(settings)
  each, steps = step_bytes(settings.spaces), groups * unit
  extra = TABLES + selectors.step_bytes(settings.selectors)
  free = memory.available_bytes()
  share = SHARE if settings.storage == 'auto' else 1.0
  fits = (each + extra) * steps <= share * free
  what = f'Replay: {steps:,} steps of {each:,} bytes, {gib(each * steps)}'
  if settings.storage == 'memory' or (settings.storage == 'auto' and fits):
    memory.require((each + extra) * steps, each + extra, unit, steps)
    storage, notes = Memory(), [f'{what}, in memory.']
  else:
    memory.require(extra * steps, extra, unit, steps)
    folder = _scratch(settings)
    storage = Disk(folder)
    notes = [
      f'{what}, in files in {folder} that are mapped into memory, of which '
      f'{gib(free)} are free.',
      *_scratch_warning(folder, each, unit, steps),
    ]
  notes += _workdir_warning(settings, storage, steps)
  return Plan(groups, storage, tuple(notes))


def _count_groups(settings: Any) -> int:
  """Groups of chunks that fit in the capacity, or hold all steps to come.

  Right after a group was recycled, there must still be enough starts to train.
  """
  workers, processes = settings.num_envs, settings.processes
  unit = workers * settings.chunk_size
  length = settings.context + settings.consec * settings.batch_length
  ready = settings.batch_size * settings.batch_length
  least = 1 + -(-(ready + workers * (length - 1)) // unit)
  if settings.capacity < least * unit * processes:
    each = f' in each of {processes} processes' if processes > 1 else ''
    raise UserError(
      f'{workers} workers{each} with chunks of {settings.chunk_size} steps, '
      f'and {ready} sequences of {length} steps to train on, need at least '
      f'{least * unit * processes}. Raise it or lower chunk_size.',
      'capacity',
      settings.capacity,
    )
  groups = settings.capacity // processes // unit
  if not settings.steps:
    return groups
  steps = -(-settings.steps // processes)
  return min(groups, max(least, -(-steps // unit)))


def check_formats(spaces: Mapping[str, Any]) -> None:
  """Refuses formats that files do not have, by name."""
  for key, space in spaces.items():
    if not chunkfile.storable(space.dtype):
      raise UserError(
        f'{key!r} is {np.dtype(space.dtype).name}: stored steps have no such '
        'format. Keep it in another one, such as int8 or float32.'
      )


def _scratch(settings: Any) -> pathlib.Path:
  """The folder of mapped files, on this machine."""
  if settings.scratch:
    return paths.parse(settings.scratch, '--scratch')
  if settings.directory and not paths.in_bucket(settings.directory):
    return paths.parse(settings.directory, 'replay directory') / 'pool'
  return pathlib.Path(tempfile.gettempdir())


def _scratch_warning(
  folder: pathlib.Path, each: int, unit: int, steps: int
) -> list[str]:
  """Warns if the mapped files will not fit on their disk."""
  free = _free_bytes(folder)
  if each * steps <= free:
    return []
  return [
    f'Warning: {gib(free)} are free in {folder}; when they are full, the run '
    f'ends. Set {WHERE}.capacity to {free // (each * unit) * unit} or less, or '
    'name a folder on another disk by --scratch.'
  ]


def _workdir_warning(settings: Any, storage: Storage, steps: int) -> list[str]:
  """Warns if the saved steps will not fit in the workdir."""
  if not settings.directory or paths.in_bucket(settings.directory):
    return []
  folder = paths.parse(settings.directory, 'replay directory')
  spaces = settings.spaces
  side = {k: v for k, v in spaces.items() if k.startswith('latent/')}
  data = {k: v for k, v in spaces.items() if k not in side}
  # Replaced latents stay for a while, beside the newer ones.
  side_bytes = 2 * step_bytes(side) if settings.save_latents else 0
  need = steps * (step_bytes(data) + side_bytes)
  free = _free_bytes(folder) + _stored_bytes(folder)
  if isinstance(storage, Disk) and _same_disk(folder, _scratch(settings)):
    free -= steps * step_bytes(spaces)
  if need <= free:
    return []
  return [
    f'Warning: {folder} will need about {gib(need)}, and {gib(max(0, free))} '
    f'are free there. Lower {WHERE}.capacity, set '
    f'{WHERE}.save_latents=false, or choose another workdir.'
  ]


def _free_bytes(folder: pathlib.Path) -> int:
  """Bytes free on the disk of a folder that may have to be made."""
  return shutil.disk_usage(_existing(folder)).free


def _stored_bytes(folder: pathlib.Path) -> int:
  return sum(path.stat().st_size for path in folder.glob('*') if path.is_file())


def _same_disk(one: pathlib.Path, other: pathlib.Path) -> bool:
  return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def _existing(folder: pathlib.Path) -> pathlib.Path:
  while not folder.is_dir() and folder != folder.parent:
    folder = folder.parent
  return folder
