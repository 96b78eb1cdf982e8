"""Capacity in steps, and the choice between memory and disk."""

import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dreamer_nnx import paths
from dreamer_nnx.contracts import Footprint
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
  """Groups of chunks, their storage, the room that it takes, and notes."""

  groups: int
  storage: Storage
  footprint: Footprint
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
    folder, memory_bytes = '', (each + extra) * steps
  else:
    memory.require(extra * steps, extra, unit, steps)
    folder = _scratch(settings)
    storage, memory_bytes = Disk(folder), extra * steps
    notes = [
      f'{what}, in files in {folder} that are mapped into memory, of which '
      f'{gib(free)} are free.',
      *_scratch_warning(folder, each, unit, steps),
    ]
  notes += _workdir_warning(settings, storage, steps)
  taken = Footprint(
    steps=steps,
    begin=_least_steps(settings),
    memory=memory_bytes,
    mapped=each * steps if folder else 0,
    folder=str(folder),
    saved=saved_bytes(settings, steps),
  )
  return Plan(groups, storage, taken, tuple(notes))


def _count_groups(settings: Any) -> int:
  """Groups of chunks that fit in the capacity, or hold all steps to come.

  Right after a group was recycled, there must still be enough starts to train.
  """
  workers, processes = settings.num_envs, settings.processes
  unit = workers * settings.chunk_size
  length, ready = _windows(settings)
  least = 1 + -(-_least_steps(settings) // unit)
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


def _windows(settings: Any) -> tuple[int, int]:
  """Steps of a sequence, and how many sequences are needed to train."""
  length = settings.context + settings.consec * settings.batch_length
  return length, settings.batch_size * settings.batch_length


def _least_steps(settings: Any) -> int:
  """Steps of this process before there are enough starts to train."""
  length, ready = _windows(settings)
  return ready + settings.num_envs * (length - 1)


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
    return paths.local(settings.scratch, '--scratch')
  if settings.directory and not paths.in_bucket(settings.directory):
    return paths.parse(settings.directory, 'replay directory') / 'pool'
  return pathlib.Path(tempfile.gettempdir())


def _scratch_warning(
  folder: pathlib.Path, each: int, unit: int, steps: int
) -> list[str]:
  """Warns if the mapped files will not fit on their disk."""
  free = paths.free_bytes(folder)
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
  need = saved_bytes(settings, steps)
  free = paths.free_bytes(folder) + paths.stored_bytes(folder)
  if isinstance(storage, Disk) and paths.same_disk(folder, _scratch(settings)):
    free -= steps * step_bytes(settings.spaces)
  if need <= free:
    return []
  return [
    f'Warning: {folder} will need about {gib(need)}, and {gib(max(0, free))} '
    f'are free there. Lower {WHERE}.capacity, set '
    f'{WHERE}.save_latents=false, or choose another workdir.'
  ]


def saved_bytes(settings: Any, steps: int) -> int:
  """Bytes of the files that so many steps are saved in; 0 if they are not."""
  if not settings.directory:
    return 0
  spaces = settings.spaces
  side = {k: v for k, v in spaces.items() if k.startswith('latent/')}
  data = {k: v for k, v in spaces.items() if k not in side}
  # Replaced latents stay for a while, beside the newer ones.
  side_bytes = 2 * step_bytes(side) if settings.save_latents else 0
  return steps * (step_bytes(data) + side_bytes)
