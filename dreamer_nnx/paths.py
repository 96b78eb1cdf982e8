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


def size(path: Path) -> int:
  """Bytes of a file."""
  stat = path.stat()
  return stat.length if in_bucket(path) else stat.st_size
