"""Paths of a run: folders of this machine, or of a bucket.

A local path is a `pathlib.Path`, one in a bucket an `etils.epath.Path`. Both
have `/`, `name`, `parent`, `exists`, `is_dir`, `is_file`, `iterdir`, `glob`,
`mkdir`, `open`, `read_bytes`, `write_bytes` and `unlink`; the toolkit uses
nothing else of them. A bucket has whole objects only: nothing can be appended,
renamed or locked there, and an empty folder does not exist.
"""

import os
import pathlib
import re
from collections.abc import Collection

from etils import epath

Path = pathlib.Path | epath.Path
SCHEMES = ('gs',)
_SCHEME = re.compile(r'([A-Za-z][A-Za-z0-9+.-]*)://')


class PathError(ValueError):
  """A path that cannot be used; the message begins with what names it."""


def parse(text: str | os.PathLike, what: str) -> Path:
  """Makes a path absolute; `~` is the home folder.

  Args:
    what: What errors begin with, such as `--workdir`.

  Raises:
    PathError: The text has a scheme other than SCHEMES.
  """
  if isinstance(text, epath.Path) and in_bucket(text):
    return text
  text = os.fspath(text)
  match = _SCHEME.match(text)
  if not match:
    return pathlib.Path(text).expanduser().absolute()
  if match[1] not in SCHEMES:
    raise PathError(
      f'{what} = {text!r}: paths of {match[1]}:// cannot be used. Name a local '
      'folder or gs://BUCKET/FOLDER.'
    )
  return epath.Path(text)


def in_bucket(path: str | os.PathLike) -> bool:
  """Whether a path is in a bucket, and not on a disk of this machine."""
  return bool(_SCHEME.match(os.fspath(path)))


def write(path: Path, data: bytes) -> None:
  """Writes a file, whole or not at all, so that a power cut cannot lose it.

  Raises:
    OSError: It cannot be written; nothing is left behind.
  """
  if in_bucket(path):
    path.write_bytes(data)
    return
  temp = path.with_name(f'.{path.name}.tmp')
  try:
    with temp.open('wb') as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temp, path)
    sync_folder(path.parent)
  except OSError:
    temp.unlink(missing_ok=True)
    raise


def sync_folder(path: Path) -> None:
  """Brings the names in a local folder to the disk; buckets need no such."""
  if in_bucket(path):
    return
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def check_inside(
  folder: Path, root: Path, below: Collection[str] | None = None
) -> None:
  """Refuses a folder in which something leads out of a root, or hangs.

  Files may be links within the root. Buckets have none.

  Args:
    below: Names of the folders in it to look into; all by default.

  Raises:
    PathError: A link leads out; or something is neither file nor folder.
  """
  if in_bucket(folder):
    return
  real, waiting = os.path.realpath(root), [os.fspath(folder)]
  _check_link(folder, real)
  while waiting:
    for entry in _entries(waiting.pop()):
      if entry.is_symlink():
        _check_link(entry.path, real)
      elif entry.is_dir(follow_symlinks=False):
        if below is None or entry.name in below:
          waiting.append(entry.path)
      elif not entry.is_file(follow_symlinks=False):
        raise PathError(
          f'{entry.path}: is neither a file nor a folder. Remove it.'
        )
    below = None


def _entries(folder: str) -> list[os.DirEntry]:
  try:
    with os.scandir(folder) as entries:
      return list(entries)
  except FileNotFoundError:
    return []  # A run that goes on has just deleted it.


def _check_link(path: str | os.PathLike, root: str) -> None:
  target = os.path.realpath(path)
  if target != root and not target.startswith(os.path.join(root, '')):
    raise PathError(
      f'{path}: leads to {target}, outside of {root}. If that is yours, put it '
      'there itself instead of a link.'
    )


def size(path: Path) -> int:
  """Bytes of a file."""
  stat = path.stat()
  return stat.length if in_bucket(path) else stat.st_size
