"""The file format of a stored chunk: arrays, their description, a checksum.

    magic | bytes of each array | description (JSON) | its size, crc32

The checksum at the end covers all before it, so a file cut short anywhere, or
changed anywhere, does not pass.
"""

import json
import os
import pathlib
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

_MAGIC = b'DNNXCHK1'
_END = struct.Struct('<QI')


class ChunkFileError(ValueError):
  """A file that cannot be used; the message is the reason."""


def describe(shape: tuple[int, ...], dtype: np.dtype | type | str) -> list[Any]:
  """The description of one key's steps in `meta['keys']`."""
  return [np.dtype(dtype).name, list(shape)]


def write(
  path: pathlib.Path,
  meta: Mapping[str, Any],
  arrays: Mapping[str, np.ndarray],
) -> int:
  """Writes steps (length, ...) of every key, whole or not at all.

  Returns:
    The file's size in bytes.

  Raises:
    OSError: The file cannot be written; none is left behind.
  """
  keys = {k: describe(v.shape[1:], v.dtype) for k, v in arrays.items()}
  temp = path.with_name(f'.{path.name}.tmp')
  try:
    with temp.open('wb') as file:
      size, crc = _put(file, _MAGIC, 0, 0)
      for array in arrays.values():
        # A copy: training may write latents while this runs, and the
        # checksum must be of the very bytes in the file.
        size, crc = _put(file, array.tobytes(), size, crc)
      text = json.dumps({**meta, 'keys': keys}).encode()
      size, crc = _put(file, text, size, crc)
      size, _ = _put(file, _END.pack(len(text), crc), size, crc)
    os.replace(temp, path)
  except OSError:
    temp.unlink(missing_ok=True)
    raise
  return size


def read(
  path: pathlib.Path,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Reads what `write` wrote: the description and read-only arrays.

  Raises:
    ChunkFileError: The file is missing, torn or no chunk.
  """
  try:
    data = path.read_bytes()
  except OSError as error:
    raise ChunkFileError(error.strerror or str(error)) from error
  if not data.startswith(_MAGIC):
    raise ChunkFileError('not a chunk file')
  body = len(data) - _END.size
  if body < len(_MAGIC):
    raise ChunkFileError('torn (cut short)')
  size, crc = _END.unpack_from(data, body)
  if zlib.crc32(memoryview(data)[:body]) != crc:
    raise ChunkFileError('torn (the checksum differs)')
  meta = json.loads(data[body - size : body])
  return meta, _split(data, meta)


def _put(file: Any, data: bytes, size: int, crc: int) -> tuple[int, int]:
  file.write(data)
  return size + len(data), zlib.crc32(data, crc)


def _split(data: bytes, meta: Mapping[str, Any]) -> dict[str, np.ndarray]:
  arrays, place = {}, len(_MAGIC)
  for key, (name, shape) in meta['keys'].items():
    dtype = np.dtype(name)
    shape = (meta['length'], *shape)
    count = int(np.prod(shape, dtype=np.int64))
    array = np.frombuffer(data, dtype, count, place)
    arrays[key] = array.reshape(shape)
    place += count * dtype.itemsize
  return arrays
