"""The files of checkpoints: where a step is, and whether it is whole.

`files.json` in a step lists the size and CRC-32 of every file of its items.
Orbax reads a flipped bit as data and answers a cut file with pages of
internals; with the list both are found, and named, before anything is loaded.
"""

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import jax

from dreamer_nnx import paths
from dreamer_nnx.training.record import CheckpointError, Record

FOLDER = 'checkpoints'
MANIFEST = 'files.json'
REQUIRED = ('state', 'meta')
SHOWN = 10


def find(path: str | Path, step: int | None = None) -> Path:
  """Finds one complete step: the named one, or the latest.

  Args:
    path: A workdir, its folder `checkpoints`, or one step in that.
    step: Which step, where the path does not say.

  Raises:
    CheckpointError: there is no such path, no checkpoint there, not this step,
      or it is damaged. No other step is taken in its place.
  """
  path = Path(path).expanduser().absolute()
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


def _check_inside(directory: Path, whole: Path) -> None:
  try:
    paths.check_inside(directory, whole)
  except paths.PathError as error:
    raise CheckpointError(str(error)) from error


def latest(path: str | Path, step: int | None = None) -> int | None:
  """The step that `find` returns; None where a run has not saved yet."""
  if step is None and not kept(Path(path).expanduser()):
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
    # In this order: killed in between, what is left of it stays superseded.
    if (directory / str(step)).is_dir():
      shutil.rmtree(directory / str(step))
    superseded = record.superseded - {step}
    dataclasses.replace(record, superseded=superseded).write(directory)


def verify(root: Path, items: Iterable[str] = ()) -> None:
  """Checks that all files are there, whole, and unchanged in `items`."""
  for item in REQUIRED:
    if not (root / item).is_dir():
      raise _damaged(root, f'{item!r} is missing')
  if not (root / MANIFEST).is_file():
    return  # Saved by Orbax alone; its own checks have to do.
  with reading(root, MANIFEST):
    manifest = json.loads((root / MANIFEST).read_text())
    manifest = {name: (size, crc) for name, (size, crc) in manifest.items()}
  files = _files(root)
  for name, (size, crc) in sorted(manifest.items()):
    if name not in files:
      raise _damaged(root, f'{name} is missing')
    found = files[name].stat().st_size
    if found != size:
      raise _damaged(root, f'{name} has {found} bytes of {size}')
    if name.split('/')[0] in items and _crc(files[name]) != crc:
      raise _damaged(root, f'{name} has changed since it was saved')


def write_manifest(root: Path) -> None:
  """Lists the files of a step that is complete but for its name."""
  files = _files(root).items()
  manifest = {name: [path.stat().st_size, _crc(path)] for name, path in files}
  (root / MANIFEST).write_text(json.dumps(manifest))


def writable(directory: Path) -> Path:
  """Makes the directory where it is missing, and tries to write in it."""
  try:
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory):
      return directory
  except OSError as error:
    raise CheckpointError(
      f'checkpoint directory {directory} cannot be written: '
      f'{error.strerror}. Choose another workdir.'
    ) from error


def _locate(path: Path) -> tuple[Path, int | None]:
  if (path / FOLDER).is_dir():
    return path / FOLDER, None
  items = any((path / item).is_dir() for item in REQUIRED)
  is_step = path.name.isdigit() and (items or path.parent.name == FOLDER)
  return (path.parent, int(path.name)) if is_step else (path, None)


def _all_steps(directory: Path) -> list[int]:
  # A save cut off by a crash keeps a temporary name, which is no number.
  found = (entry for entry in directory.iterdir() if entry.is_dir())
  return sorted(int(entry.name) for entry in found if entry.name.isdigit())


def _files(root: Path) -> dict[str, Path]:
  # Orbax still changes the files beside the items after the manifest.
  paths = sorted(path for path in root.glob('*/**/*') if path.is_file())
  return {path.relative_to(root).as_posix(): path for path in paths}


def _crc(path: Path) -> int:
  crc = 0
  with path.open('rb') as file:
    while block := file.read(1 << 22):
      crc = zlib.crc32(block, crc)
  return crc


def _damaged(root: Path, what: str) -> CheckpointError:
  others = [step for step in steps(root.parent) if step != int(root.name)]
  remedy = '; --restore_step goes on from one.' if others else '.'
  return CheckpointError(
    f'checkpoint step {root.name} in {root.parent} is damaged: {what}. '
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
    raise _damaged(
      root, f'{what} cannot be read ({first_line(error)})'
    ) from error


def _listed(steps: list[int]) -> str:
  shown = ', '.join(str(step) for step in steps[-SHOWN:])
  return f'..., {shown}' if len(steps) > SHOWN else shown or 'none'


def reason(error: Exception) -> str:
  """Why a save failed, and what to do."""
  full = os.strerror(errno.ENOSPC)
  if full not in str(error):
    return first_line(error)
  return (
    f'{full}. Free some, then run the same command again: it goes on from the '
    'last checkpoint.'
  )


def first_line(error: Exception) -> str:
  """What went wrong, without the specifications TensorStore appends."""
  text = str(error) or type(error).__name__
  return text.splitlines()[0].split(' [tensorstore_spec')[0][:200]
