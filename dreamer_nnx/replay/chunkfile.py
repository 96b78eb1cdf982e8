"""The file format of stored steps: arrays, their description, a checksum.

    magic | bytes of each array | description (JSON) | its size, crc32

The checksum at the end covers all before it, so a file cut short anywhere, or
changed anywhere, does not pass. The first array, `runs`, says which steps the
rows of the others are: (runs, 3) of a chunk's number, the first step and how
many follow. Arrays are bits with the name of their format, so that those of
ml_dtypes (bfloat16, float8_*, int4) come back exactly.

Version 0.1 wrote a file for each chunk, without runs; these are still read.
"""

import contextlib
import json
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_dtypes  # Its formats have names that numpy finds from here on.
import numpy as np
import tensorstore

from dreamer_nnx import versions

_KIND = b'DNNXCHK'
_MAGIC = _KIND + str(versions.CHUNK_FILE).encode()
_MAGIC_01 = _KIND + b'1'
_END = struct.Struct('<QI')
_RUNS = 'runs'
# Bytes. No file is larger, and no description; larger than small ones are
# looked at before they are read.
LIMIT = 1 << 30
_DESCRIPTION = 1 << 20
_SMALL = 64 << 20


class ChunkFileError(ValueError):
  """A file that cannot be used; the message is the reason."""


def storable(dtype: Any) -> bool:
  """Tells whether files can hold the format, as TensorStore can."""
  try:
    name = np.dtype(dtype).name
    return tensorstore.dtype(np.dtype(dtype)).name == name
  except (TypeError, ValueError):
    return False


def describe(shape: tuple[int, ...], dtype: Any) -> list[Any]:
  """The description of one key's steps in `meta['keys']`."""
  return [np.dtype(dtype).name, list(shape)]


def runs_of(idents: np.ndarray, offsets: np.ndarray) -> np.ndarray:
  """Runs (r, 3) of steps (n,), each a chunk's number and place there."""
  new = (np.diff(idents) != 0) | (np.diff(offsets) != 1)
  begin = np.append(0, np.flatnonzero(new) + 1) if len(idents) else []
  begin = np.asarray(begin, np.int64)
  count = np.diff(np.append(begin, len(idents)))
  # 3 x (r,) -> (r, 3)
  return np.stack([idents[begin], offsets[begin], count], axis=1)


def encode(
  meta: Mapping[str, Any], runs: np.ndarray, arrays: Mapping[str, np.ndarray]
) -> bytes:
  """The bytes of a file with steps (n, ...) of every key.

  Args:
    meta: JSON-able; `length`, `keys` and `runs` are added.
    runs: (r, 3) int64, of n steps in all.
  """
  keys = {k: describe(v.shape[1:], v.dtype) for k, v in arrays.items()}
  length = int(runs[:, 2].sum())
  meta = {**meta, 'length': length, _RUNS: len(runs), 'keys': keys}
  parts = [_MAGIC, runs.astype('<i8').tobytes()]
  parts += [array.tobytes() for array in arrays.values()]
  parts.append(json.dumps(meta).encode())
  crc = 0
  for part in parts:
    crc = zlib.crc32(part, crc)
  return b''.join([*parts, _END.pack(len(parts[-1]), crc)])


def decode(
  data: bytes,
) -> tuple[dict[str, Any], np.ndarray, dict[str, np.ndarray]]:
  """Returns what `encode` was given, as read-only arrays.

  A file of version 0.1 has no runs: (0, 3).

  Raises:
    ChunkFileError: The bytes are torn, no steps, or of a newer version.
  """
  _check_magic(data[: len(_MAGIC)])
  body = len(data) - _END.size
  if body < len(_MAGIC):
    raise ChunkFileError('torn (cut short)')
  size, crc = _END.unpack_from(data, body)
  if zlib.crc32(memoryview(data)[:body]) != crc:
    raise ChunkFileError('torn (the checksum differs)')
  with refusing_malformed():
    meta = json.loads(data[body - size : body])
    count = meta[_RUNS] if data.startswith(_MAGIC) else 0
    # (3 r,) -> (r, 3)
    runs = np.frombuffer(data, '<i8', 3 * count, len(_MAGIC)).reshape(-1, 3)
    _check(meta, count, runs)
    return meta, runs, _split(data, meta, len(_MAGIC) + runs.nbytes)


def is_small(size: int) -> bool:
  """Tells whether a file of so many bytes is read at once."""
  return size <= _SMALL


def peek(size: int, read: Callable[[int, int], bytes]) -> dict[str, Any]:
  """Reads the description of a file from its first and last bytes.

  Args:
    size: Size of the file in bytes.
    read: Gives a number of its bytes, from a place on.

  Raises:
    ChunkFileError: It is none, or not of the size that its description says.
  """
  if size > LIMIT:
    raise ChunkFileError(f'it has {size} bytes, more than any stored file')
  _check_magic(read(0, len(_MAGIC)))
  body = size - _END.size
  if body < len(_MAGIC):
    raise ChunkFileError('torn (cut short)')
  length, _ = _END.unpack(read(body, _END.size))
  if length > min(body, _DESCRIPTION):
    raise ChunkFileError(f'torn (a description of {length} bytes)')
  with refusing_malformed():
    meta = json.loads(read(body - length, length))
    arrays = sum(
      meta['length'] * math.prod(shape) * _format(name).itemsize
      for name, shape in meta['keys'].values()
    )
    expect = len(_MAGIC) + 24 * meta.get(_RUNS, 0) + arrays + length
    if expect != body:
      raise ValueError(f'{body} bytes, where its description says {expect}')
  return meta


def _check_magic(found: bytes) -> None:
  """Raises ChunkFileError if the first bytes are of nothing that is read."""
  number = found.removeprefix(_KIND)
  if number == found or not number.isdigit():
    raise ChunkFileError('not a chunk file')
  if what := versions.complaint(int(number), versions.CHUNK_FILE):
    raise ChunkFileError(what)


@contextlib.contextmanager
def refusing_malformed() -> Iterator[None]:
  """Turns errors that a malformed description leads to into ChunkFileError."""
  try:
    yield
  except ChunkFileError:
    raise
  except (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
  ) as error:
    raise ChunkFileError(f'not a chunk file ({error})') from error


def _check(meta: Mapping[str, Any], count: int, runs: np.ndarray) -> None:
  """Raises ValueError if lengths are no counts, or differ from the runs'."""
  length = meta['length']
  if (
    type(length) is not int or type(count) is not int or min(length, count) < 0
  ):
    raise ValueError('its length is no count')
  short = (runs < 0).any() or (runs[:, 2] > length).any()
  if count and (short or int(runs[:, 2].sum()) != length):
    raise ValueError('its runs are not of its length')


def _split(
  data: bytes, meta: Mapping[str, Any], place: int
) -> dict[str, np.ndarray]:
  arrays = {}
  for key, (name, shape) in meta['keys'].items():
    dtype = _format(name)
    shape = (meta['length'], *shape)
    count = int(np.prod(shape, dtype=np.int64))
    array = np.frombuffer(data, dtype, count, place)
    # (n * ...,) -> (n, ...)
    arrays[key] = array.reshape(shape)
    place += count * dtype.itemsize
  return arrays


def _format(name: str) -> np.dtype:
  """Looks a format up by name; it holds no Python objects."""
  dtype = np.dtype(getattr(ml_dtypes, name, name))
  if dtype.hasobject:
    raise ValueError(f'{name} is no format of numbers')
  return dtype
