"""Files of checkpoints: finding a step, and checking that it is complete.

`files.json` in a step lists the size and CRC-32 of every file of its items.
Orbax reads a flipped bit as data and answers a cut file with pages of
internals; with the list both are found, and named, before anything is loaded.
"""

import contextlib
import dataclasses
import errno
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax

from dreamer_nnx import paths, versions
from dreamer_nnx.paths import Path
from dreamer_nnx.training import limits
from dreamer_nnx.training.record import CheckpointError, Record

FOLDER = 'checkpoints'
MANIFEST = 'files.json'
# Orbax writes it last, in a bucket, where nothing can be renamed.
COMMITTED = 'commit_success.txt'
REQUIRED = ('state', 'meta')
SHOWN = 10
STEP = re.compile('[0-9]{1,15}')


def find(path: str | Path, step: int | None = None) -> Path:
  """Finds one complete step: the named one, or the latest.

  Args:
    path: A workdir, its folder `checkpoints`, or one step in that.
    step: Which step, where the path does not say.

  Raises:
    CheckpointError: there is no such path, no checkpoint there, not this step,
      or it is damaged. No other step is taken in its place.
  """
  path = paths.parse(path, 'checkpoint')
  if not path.is_dir():
    what = 'is not a directory' if path.exists() else 'does not exist'
    raise CheckpointError(
      f'{path} {what}: name a workdir, its folder {FOLDER!r}, or one step '
      f'in that.'
    )
  directory, named = _locate(path)
  _check_inside(directory, directory if path.parent == directory else path)
  found = steps(directory) if named is None else _all_steps(directory)
  if not found:
    raise CheckpointError(
      f'{directory} holds no checkpoint: name a workdir, its folder '
      f'{FOLDER!r}, or one step in that.'
    )
  if step is None:
    step = found[-1] if named is None else named
  if step not in found or named not in (None, step):
    there = _listed([named] if named is not None else found)
    gone = '; it is superseded' if step in _all_steps(directory) else ''
    raise CheckpointError(
      f'{path} holds no checkpoint step {step}{gone}. Steps there: {there}.'
    )
  verify(directory / str(step))
  return directory / str(step)


def _check_inside(directory: Path, root: Path) -> None:
  try:
    paths.check_inside(directory, root)
  except paths.PathError as error:
    raise CheckpointError(str(error)) from error


def latest(path: str | Path, step: int | None = None) -> int | None:
  """The step that `find` returns; None where a run has not saved yet."""
  if step is None and not kept(paths.parse(path, 'checkpoint')):
    return None
  return int(find(path, step).name)


def kept(workdir: Path) -> list[int]:
  """The steps of a run, in order; none where it has not saved yet."""
  directory = workdir / FOLDER
  return steps(directory) if directory.is_dir() else []


def steps(directory: Path) -> list[int]:
  """The complete steps in a folder of checkpoints that are not superseded."""
  gone = Record.read(directory).superseded
  return [step for step in _all_steps(directory) if step not in gone]


def make_room(directory: Path, step: int) -> None:
  """Removes a superseded step of this number, which is to be saved anew."""
  record = Record.read(directory)
  if step in record.superseded:
    # If the process is killed in between, what is left stays superseded.
    paths.remove(directory / str(step))
    superseded = record.superseded - {step}
    dataclasses.replace(record, superseded=superseded).write(directory)


def verify(root: Path, items: Iterable[str] = ()) -> None:
  """Checks that all files are there, whole, and unchanged in `items`."""
  for item in REQUIRED:
    if not (root / item).is_dir():
      raise _damaged(root, f'{item!r} is missing')
  try:
    limits.check_texts(root)
  except (ValueError, FileNotFoundError) as error:
    raise _damaged(root, str(error)) from error
  if not (root / MANIFEST).is_file():
    return  # Saved by Orbax alone; its own checks have to do.
  with reading(root, MANIFEST):
    manifest = json.loads(paths.read(root / MANIFEST))
    manifest = {name: (size, crc) for name, (size, crc) in manifest.items()}
  files = _files(root)
  for name, (size, crc) in sorted(manifest.items()):
    if name not in files:
      raise _damaged(root, f'{name} is missing')
    found = files[name].size
    if found != size:
      raise _damaged(root, f'{name} has {found} bytes of {size}')
    if name.split('/')[0] not in items:
      continue
    with reading(root, name):
      changed = _changed(root / name, files[name], crc)
    if changed:
      raise _damaged(root, f'{name} has changed since it was saved')


def check_format(root: Path, meta: Any) -> None:
  """Refuses a step whose `meta` says that it is of a newer format.

  Raises:
    CheckpointError: It is, or the number is none.
  """
  if isinstance(meta, Mapping):
    found, writer = meta.get('format', 1), meta.get('written_by')
    if what := versions.complaint(found, versions.CHECKPOINT, writer):
      name = f'checkpoint step {root.name} in {root.parent}'
      raise CheckpointError(f'{name} cannot be read: {what}.')


def write_manifest(root: Path) -> None:
  """Lists the files of a step that is complete, and brings them to the disk."""
  manifest = {
    name: [file.size, file.checksum or _crc(root / name)]
    for name, file in _files(root).items()
  }
  paths.write(root / MANIFEST, json.dumps(manifest).encode())
  paths.sync_tree(root)


def sync(directory: Path, step: int) -> None:
  """Brings the name of a step to the disk, and what Orbax wrote in it last."""
  root = directory / str(step)
  if not paths.in_bucket(root) and root.is_dir():
    for path in (*root.iterdir(), root, directory):
      paths.sync_folder(path)


def unfinished(directory: Path, step: int) -> Path:
  """Finds the folder in which Orbax writes a step that is not complete yet."""
  if paths.in_bucket(directory):
    return directory / str(step)
  (root,) = directory.glob(f'{step}.orbax-checkpoint-tmp*')
  return root


def writable(directory: Path) -> Path:
  """Makes the directory where it is missing, and tries to write in it."""
  probe = directory / f'.probe.{os.getpid()}'
  try:
    directory.mkdir(parents=True, exist_ok=True)
    paths.write(probe, b'')
    # One of a process of the same number elsewhere may have removed it.
    probe.unlink(missing_ok=True)
    return directory
  except Exception as error:
    why = paths.refusal(error) or getattr(error, 'strerror', None)
    if not why:
      raise
    raise CheckpointError(
      f'checkpoint directory {directory} cannot be written: {why}. Choose '
      'another workdir.'
    ) from error


def _locate(path: Path) -> tuple[Path, int | None]:
  if (path / FOLDER).is_dir():
    return path / FOLDER, None
  items = any((path / item).is_dir() for item in REQUIRED)
  is_step = STEP.fullmatch(path.name) and (items or path.parent.name == FOLDER)
  return (path.parent, int(path.name)) if is_step else (path, None)


def _all_steps(directory: Path) -> list[int]:
  # A save cut off by a crash keeps a temporary name, which is no number; in a
  # bucket it has its own, without the mark that it is complete.
  entries = paths.entries(directory)
  found = (entry for entry in entries if STEP.fullmatch(entry.name))
  return sorted(int(entry.name) for entry in found if _complete(entry))


def _complete(entry: Path) -> bool:
  if paths.in_bucket(entry):
    return (entry / COMMITTED).exists()
  return entry.is_dir()


def _files(root: Path) -> dict[str, paths.File]:
  # Orbax still changes the files beside the items after the manifest.
  found = paths.walk(root).items()
  return {name: file for name, file in found if '/' in name}


def _changed(path: Path, file: paths.File, saved: int | str) -> bool:
  """Tells whether contents differ from what was saved, as far as is known."""
  if isinstance(saved, str):  # What a bucket says of its objects.
    return bool(file.checksum) and file.checksum != saved
  return _crc(path) != saved


def _crc(path: Path) -> int:
  crc = 0
  with path.open('rb') as file:
    while block := file.read(1 << 22):
      crc = zlib.crc32(block, crc)
  return crc


def _damaged(root: Path, what: str) -> CheckpointError:
  step = int(root.name)
  others = [other for other in steps(root.parent) if other != step]
  remedy = '; --restore_step goes on from one.' if others else '.'
  fault = f'is damaged: {what}'
  if step not in _all_steps(root.parent):
    # By a run that goes on there, and keeps its last ones.
    fault = 'has been deleted meanwhile'
  return CheckpointError(
    f'checkpoint step {step} in {root.parent} {fault}. '
    f'Other steps there: {_listed(others)}{remedy}'
  )


@contextlib.contextmanager
def reading(root: Path, what: str) -> Iterator[None]:
  """Turns any error but those of memory into one that names the step."""
  try:
    yield
  except (jax.errors.JaxRuntimeError, MemoryError):
    raise
  # Orbax raises errors of every kind for bad files, plain Exception included.
  except Exception as error:
    if reason := paths.refusal(error):
      raise CheckpointError(
        f'checkpoint step {root.name} in {root.parent}: {what} cannot be read; '
        f'the bucket cannot be used ({reason}).'
      ) from error
    raise _damaged(
      root, f'{what} cannot be read ({first_line(error)})'
    ) from error


def _listed(steps: list[int]) -> str:
  shown = ', '.join(str(step) for step in steps[-SHOWN:])
  return f'..., {shown}' if len(steps) > SHOWN else shown or 'none'


def reason(error: Exception) -> str:
  """Explains why a save failed, and what to do."""
  full = os.strerror(errno.ENOSPC)
  if full not in str(error):
    return first_line(error)
  return (
    f'{full}. Free some, then run the same command again: it goes on from the '
    'last checkpoint.'
  )


def first_line(error: Exception) -> str:
  """Shortens an error's text by the specifications TensorStore appends."""
  text = str(error) or type(error).__name__
  return text.splitlines()[0].split(' [tensorstore_spec')[0][:200]
