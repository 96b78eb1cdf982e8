"""Paths of a run: folders of this machine, or of a bucket.

A local path is a `pathlib.Path`, one in a bucket an `etils.epath.Path`. Both
have `/`, `name`, `parent`, `exists`, `is_dir`, `is_file`, `glob`, `mkdir`,
`open`, `read_bytes`, `write_bytes` and `unlink`; the toolkit uses nothing else
of them but what is here. A bucket has whole objects only: nothing can be
appended, renamed or locked there, and an empty folder does not exist. So a
folder that was seen can be gone, when another process deletes a file there.
"""

import contextlib
import glob
import importlib.util
import os
import pathlib
import re
import shutil
import typing
from collections.abc import Collection
from typing import Any

import fsspec
from etils import epath

from dreamer_nnx.errors import UserError

Path = pathlib.Path | epath.Path
SCHEMES = ('gs',)
_SCHEME = re.compile(r'([A-Za-z][A-Za-z0-9+.-]*)://')
_PATTERN = re.compile(r'[*?\[\]#]')
# Bytes of a file that are read at once, to copy it.
PORTION = 1 << 20
# Packages by which a bucket is reached, and whose errors tell of it.
_CLIENTS = ('fsspec', 'gcsfs', 'google', 'aiohttp', 'requests')
# How its other errors begin.
_REFUSED = ('Forbidden: ', 'Bad Request: ')
# Listings are not cached, so that other processes' files are seen.
for _scheme in SCHEMES:
  fsspec.config.conf.setdefault(_scheme, {})['use_listings_cache'] = False
# Imported where a bucket is used; epath calls the scheme by its second name.
for _name in (*SCHEMES, 'gcs'):
  _client: Any = 'dreamer_nnx.buckets.Store'
  if _name in fsspec.registry:  # Somebody has used a bucket before.
    _client = importlib.import_module('dreamer_nnx.buckets').Store
  fsspec.register_implementation(_name, _client, clobber=True)


class PathError(UserError):
  """A path that cannot be used; the message begins with what names it."""


class StoreError(OSError):
  """A failure of a bucket, or of the way to it."""


class File(typing.NamedTuple):
  """Bytes of a file; of an object also the CRC-32C that the store keeps."""

  size: int
  checksum: str = ''


def here() -> str:
  """The current folder of this process; '' if it has been deleted."""
  try:
    return os.getcwd()
  except FileNotFoundError:
    return ''


def parse(text: str | os.PathLike, what: str) -> Path:
  """Makes a path absolute; `~` is the home folder.

  Args:
    what: Beginning of error messages, such as `--workdir`.

  Raises:
    PathError: The text has a scheme other than SCHEMES, or no bucket behind
      it, or a pattern there, or the package for buckets is not installed.
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
  if not importlib.util.find_spec('gcsfs'):
    raise PathError(
      f'{what} = {text!r}: buckets need the package gcsfs. Install the extra: '
      "pip install 'dreamer_nnx[gcs]'."
    )
  path = epath.Path(text.rstrip('/'))
  bucket, _, folder = text[match.end() :].rstrip('/').partition('/')
  if not bucket or not around(path) or '..' in folder.split('/'):
    raise PathError(
      f'{what} = {text!r}: name gs://BUCKET/FOLDER, without `..`.'
    )
  if _PATTERN.search(folder):
    raise PathError(
      f'{what} = {text!r}: name a folder without any of *?[]#, with which '
      'clients of buckets name several objects, or versions of one.'
    )
  return path


def local(text: str | os.PathLike, what: str) -> pathlib.Path:
  """Makes a path of this machine absolute; see `parse`.

  Raises:
    PathError: It is none.
  """
  path = parse(text, what)
  if in_bucket(path):
    raise PathError(f'{what} = {text!r}: name a folder of this machine.')
  return path


def in_bucket(path: str | os.PathLike) -> bool:
  """Tells whether a path is in a bucket, and not on a disk of this machine."""
  return bool(_SCHEME.match(os.fspath(path)))


def write(path: Path, data: bytes) -> None:
  """Writes a file, whole or not at all, so that a power cut cannot lose it.

  Raises:
    OSError: It cannot be written; nothing is left behind.
  """
  if in_bucket(path):
    _store().pipe_file(str(path), data)
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
  """Brings a local file, or the names in a folder, to the disk.

  Buckets need no such.
  """
  if in_bucket(path):
    return
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def sync_tree(folder: Path) -> None:
  """Brings all files and folders below a local one to the disk."""
  if in_bucket(folder):
    return
  for path in (*folder.rglob('*'), folder):
    sync_folder(path)


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
  waiting = [os.fspath(folder)]
  check_link(folder, root)
  while waiting:
    for entry in _entries(waiting.pop()):
      if entry.is_symlink():
        check_link(entry.path, root)
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


def check_link(path: str | os.PathLike, root: str | os.PathLike) -> None:
  """Refuses a local path that leads out of a root.

  Raises:
    PathError: It is, or goes by, a link to the outside.
  """
  root = os.path.realpath(root)
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


def create(path: Path, data: bytes) -> None:
  """Writes a file that is not there yet.

  Raises:
    FileExistsError: It is there; some stores overwrite it instead.
  """
  if in_bucket(path):
    _store().pipe_file(str(path), data, mode='create')
  else:
    with path.open('xb') as file:
      file.write(data)


def entries(folder: Path) -> list[Path]:
  """Lists what is in a folder, by name; nothing if it is none, or gone."""
  if not in_bucket(folder):
    try:
      return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
      return []
  try:
    names = _store().ls(str(folder), detail=False)
  except FileNotFoundError:
    return []
  # An object at the folder's own name: a mark that it is one, or a file.
  own = str(folder).removeprefix('gs://')
  found = (name.rstrip('/') for name in names)
  # Once, where a file and a folder have the same name.
  names = dict.fromkeys(x.rpartition('/')[2] for x in found if x != own)
  return [folder / name for name in names]


def around(path: Path) -> list[Path]:
  """The path, and the folders around it, up to the root or the bucket."""
  found = [path, *path.parents]
  # Parts are '/', the scheme, the bucket, and names in it.
  return [x for x in found if len(x.parts) > 3] if in_bucket(path) else found


def read(path: Path) -> bytes:
  """Reads a file at once; one of a bucket as it is at one moment."""
  if in_bucket(path):
    return _store().cat_file(str(path))
  return path.read_bytes()


def walk(folder: Path) -> dict[str, File]:
  """All files below a folder, by their names relative to it."""
  if in_bucket(folder):
    found = _store().find(str(folder), detail=True)
    start = len(str(folder).removeprefix('gs://')) + 1
    return {
      name[start:]: File(int(info['size']), info.get('crc32c') or '')
      for name, info in found.items()
      if info['type'] == 'file' and name[start:] and not name.endswith('/')
    }
  found = {}
  # Unlike `rglob` it leaves folders out that another process deletes.
  for root, _, names in os.walk(folder):
    for path in (pathlib.Path(root, name) for name in names):
      with contextlib.suppress(FileNotFoundError):
        if path.is_file():
          name = path.relative_to(folder).as_posix()
          found[name] = File(path.stat().st_size)
  return found


def free_bytes(folder: pathlib.Path) -> int:
  """Bytes free on the disk of a folder that may have to be made."""
  return shutil.disk_usage(_existing(folder)).free


def stored_bytes(folder: pathlib.Path) -> int:
  """Bytes of all files below a folder."""
  return sum(file.size for file in walk(folder).values())


def same_disk(one: pathlib.Path, other: pathlib.Path) -> bool:
  """Tells whether two folders are, or would be made, on one disk."""
  return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def _existing(folder: pathlib.Path) -> pathlib.Path:
  while not folder.is_dir() and folder != folder.parent:
    folder = folder.parent
  return folder


def remove(path: Path) -> None:
  """Removes a file, a link, or a folder with all in it, if it is there."""
  if in_bucket(path):
    with contextlib.suppress(FileNotFoundError):
      # The client takes patterns.
      _store().rm(glob.escape(str(path)), recursive=True)
  elif path.is_dir() and not path.is_symlink():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)


def upload(file: pathlib.Path, path: Path) -> None:
  """Copies a local file to an object, in portions; it may grow meanwhile."""
  with file.open('rb') as source, _store().open(str(path), 'wb') as target:
    shutil.copyfileobj(source, target, PORTION)


def refusal(error: BaseException | None) -> str:
  """Explains in a line why a bucket refuses; empty for other errors."""
  while error:
    client = type(error).__module__.partition('.')[0] in _CLIENTS
    late = isinstance(error, TimeoutError) and not str(error)
    told = isinstance(error, StoreError) or str(error).startswith(_REFUSED)
    if client or late or told:
      lines = str(error).strip().splitlines() or [type(error).__name__]
      return ' '.join(lines)[:200]
    error = error.__cause__
  return ''


def _store() -> fsspec.AbstractFileSystem:
  return fsspec.filesystem(SCHEMES[0])
