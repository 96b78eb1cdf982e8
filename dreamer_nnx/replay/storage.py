"""Storage of the pool: memory, or files mapped into it."""

import contextlib
import errno
import mmap
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np


class Storage(Protocol):
  def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Makes an array, whose entries need `reserve` before they are written."""
    ...

  def reserve(self, begin: int, end: int) -> None:
    """Makes room for entries of the first axis of all arrays."""
    ...


class Memory:
  """Memory of this process; pages never written to take none."""

  def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.empty(shape, dtype)

  def reserve(self, begin: int, end: int) -> None:
    pass


class Disk:
  """Files mapped into memory, one for each array, in a local folder.

  The kernel keeps in memory what is in use, as far as there is room, and frees
  it for other programs. The files grow as they fill and have no names, so that
  they are deleted with the process, however it ends.

  Raises:
    OSError: The folder cannot be written, or its disk is full.
  """

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    # One entry's bytes and the descriptor of each array's file.
    self._files: list[tuple[int, int]] = []

  def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    dtype, count = np.dtype(dtype), int(np.prod(shape, dtype=np.int64))
    size = count * dtype.itemsize
    if not size:
      return np.empty(shape, dtype)
    with self._explained():
      self._folder.mkdir(parents=True, exist_ok=True)
      with tempfile.TemporaryFile(dir=self._folder) as file:
        descriptor = os.dup(file.fileno())
      os.ftruncate(descriptor, size)
      mapped = mmap.mmap(descriptor, size)
    self._files.append((size // shape[0], descriptor))
    # (count,) -> shape
    return np.frombuffer(mapped, dtype, count).reshape(shape)

  def reserve(self, begin: int, end: int) -> None:
    # Without room behind a page, writing to it would kill the process.
    with self._explained():
      for each, descriptor in self._files:
        _allocate(descriptor, begin * each, (end - begin) * each)

  def __del__(self):
    for _, descriptor in self._files:
      os.close(descriptor)

  @contextlib.contextmanager
  def _explained(self) -> Iterator[None]:
    try:
      yield
    except OSError as error:
      full = error.errno in (errno.ENOSPC, errno.EDQUOT)
      remedy = 'Free some' if full else 'Choose another folder'
      raise OSError(
        error.errno,
        f'replay scratch folder {self._folder}: steps cannot be kept there '
        f'({error.strerror}). {remedy}, or name another one by --scratch',
      ) from error


def _allocate(descriptor: int, begin: int, count: int) -> None:
  """Allocates disk space for a part of a file."""
  if hasattr(os, 'posix_fallocate'):
    os.posix_fallocate(descriptor, begin, count)
    return
  page = bytes(1 << 20)
  for place in range(begin, begin + count, len(page)):
    os.pwrite(descriptor, page[: begin + count - place], place)
