"""Sources of fixed steps: .npz files of episodes, or the files of a replay."""

import contextlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dreamer_nnx import paths
from dreamer_nnx.errors import UserError
from dreamer_nnx.replay import chunkfile
from dreamer_nnx.replay.disk import serial
from dreamer_nnx.replay.index import is_name

Arrays = Mapping[str, np.ndarray]
# Of the chunks in files of version 0.1, which do not say theirs.
UNNUMBERED = 2**40


class Part(NamedTuple):
  """Steps of one file.

  Args:
    name: Where they are from, for messages.
    rows: Their places among all steps, slice or (n,).
    read: Returns arrays (file's steps, ...) by key.
    wanted: Which of the file's steps they are, slice or (n,).
  """

  name: str
  rows: Any
  read: Callable[[], Arrays]
  wanted: Any = slice(None)


class Source(NamedTuple):
  """Steps of all files.

  Args:
    lengths: Of the stretches of consecutive steps, in order.
    parts: The steps; a later one holds where two have the same places.
  """

  lengths: Sequence[int]
  parts: Sequence[Part]


def find(path: str) -> Source:
  """Finds the steps of a file or folder.

  Raises:
    UserError: There are none, or a file cannot be read.
  """
  place = paths.parse(path, 'path')
  if place.is_file():
    return episodes([place])
  if not place.is_dir():
    raise UserError('there is no such file or folder.', 'path', path)
  files = sorted(place.glob('*.npz'))
  chunks = _chunk_files(place)
  if bool(files) == bool(chunks):
    held = 'both of these' if files else 'neither'
    raise UserError(
      'must be a folder of .npz files of episodes, or of the files of a '
      f'replay, such as `replay` in a workdir; it has {held}.',
      'path',
      path,
    )
  return episodes(files) if files else replayed(chunks)


def episodes(files: Sequence[paths.Path]) -> Source:
  """Episodes of .npz files, (T, ...) by key, joined to one stretch."""
  parts, begin = [], 0
  for file in files:
    with _opened(file) as arrays:
      length = len(require(arrays, 'reward', str(file)))
      if not require(arrays, 'is_first', str(file)).reshape(-1)[:1].all():
        raise UserError(
          f'{file} has to begin an episode: is_first[0] must be True.', 'path'
        )
    rows = slice(begin, begin + length)
    begin = rows.stop
    parts.append(Part(str(file), rows, lambda file=file: _read_all(file)))
  return Source([begin], parts)


def replayed(files: Sequence[tuple[str, paths.Path]]) -> Source:
  """Steps that a replay has stored; a stretch goes no further than its chunk.

  Args:
    files: Numbers or names, in order of writing, and paths.
  """
  places = []
  for i, (_, file) in enumerate(files):
    meta, runs, _ = _decoded(file)
    if not len(runs):
      runs = np.array([[UNNUMBERED + i, 0, meta['length']]])
    # (r,) -> (n,): the chunk of each step, and its place there.
    ident = np.repeat(runs[:, 0], runs[:, 2])
    before = np.repeat(np.cumsum(runs[:, 2]) - runs[:, 2], runs[:, 2])
    offset = np.repeat(runs[:, 1], runs[:, 2]) + np.arange(len(ident)) - before
    places.append((ident, offset))
  size = 1 + max((int(x.max(initial=0)) for _, x in places), default=0)
  codes = [ident * size + offset for ident, offset in places]
  every = np.unique(np.concatenate(codes))
  lengths = chunkfile.runs_of(every // size, every % size)[:, 2]
  parts = [
    Part(
      str(file), every.searchsorted(code), lambda file=file: _decoded(file)[2]
    )
    for (_, file), code in zip(files, codes, strict=True)
  ]
  return Source(lengths.tolist(), parts)


def require(arrays: Arrays, key: str, name: str) -> np.ndarray:
  """Looks up a key that has to be there.

  Raises:
    UserError: It is missing; what is there is named.
  """
  if key not in arrays:
    known = ', '.join(sorted(arrays)) or 'nothing'
    raise UserError(f'{name} has no {key!r}; it has {known}.', 'path')
  return np.asarray(arrays[key])


def _chunk_files(folder: paths.Path) -> list[tuple[str, paths.Path]]:
  """Files of steps of all processes of a run, in order of writing."""
  folders = [folder, *sorted(folder.glob('process_*'))]
  found = [
    (file.name, file)
    for each in folders
    for file in paths.entries(each)
    if is_name(file.name) and file.name.endswith('.data')
  ]
  return sorted(found, key=lambda pair: (serial(pair[0]), str(pair[1])))


def _read_all(file: paths.Path) -> dict[str, np.ndarray]:
  with _opened(file) as arrays:
    return dict(arrays)


@contextlib.contextmanager
def _opened(file: paths.Path) -> Iterator[Arrays]:
  """Opens an .npz file, whose arrays are read when they are looked up."""
  try:
    with file.open('rb') as opened, np.load(opened) as arrays:
      yield arrays
  except UserError:
    raise
  except (OSError, ValueError, EOFError, AttributeError, TypeError) as error:
    raise _unreadable(file, error) from error
  except (zipfile.BadZipFile, zlib.error) as error:
    raise _unreadable(file, error) from error


def _decoded(
  file: paths.Path,
) -> tuple[dict[str, Any], np.ndarray, dict[str, np.ndarray]]:
  try:
    return chunkfile.decode(paths.read(file))
  except (OSError, chunkfile.ChunkFileError) as error:
    raise _unreadable(file, error) from error


def _unreadable(file: paths.Path, error: Exception) -> UserError:
  if isinstance(error, FileNotFoundError):
    text = 'has been deleted meanwhile. Wait for the end of the run that trains'
    return UserError(f'{file} {text} there, or name a copy.', 'path')
  return UserError(f'{file} cannot be read ({error}).', 'path')
