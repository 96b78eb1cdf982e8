"""Bounds of what is read from a checkpoint, known before it is read.

A checkpoint may be a stranger's: a few bytes can claim an array of any size,
and a text of some megabytes become gigabytes of objects.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamer_nnx import paths

TEXT = 32 << 20
ITEMS = 1_500_000
# Bytes of arrays that no config describes, and bytes for each one of files.
FREE = 128 << 20
SHRUNK = 32
COUNT = 2**53


def check_text(path: paths.Path, size: int) -> None:
  """Refuses a JSON file that would take much more memory than any saved one.

  Raises:
    ValueError: It is too large, or has too many values.
  """
  if size <= ITEMS:
    return  # Every value takes a byte.
  if size > TEXT:
    raise ValueError(f'{path.name} has {size} bytes; {TEXT} at most are read')
  text = paths.read(path)
  items = sum(text.count(mark) for mark in (b',', b'[', b'{'))
  if items > ITEMS:
    raise ValueError(
      f'{path.name} has {items} values; {ITEMS} at most are read'
    )


def check_texts(root: paths.Path) -> None:
  """Checks every file of a checkpoint but its arrays, by `check_text`."""
  for name, file in sorted(paths.walk(root).items()):
    if '/d/' not in name:
      check_text(root / name, file.size)


def check_chunks(name: str, leaf: Any) -> None:
  """Refuses an array in parts larger than itself, which would be allocated.

  Args:
    leaf: Orbax's description of a stored array: `shape` and `storage`.

  Raises:
    ValueError: Its parts do not fit.
  """
  shape, chunk = tuple(leaf.shape), leaf.storage and leaf.storage.chunk_shape
  if chunk is None:
    return
  larger = any(c > max(1, s) for c, s in zip(chunk, shape, strict=True))
  if larger:
    raise ValueError(f'{name} is {shape}, in parts of {tuple(chunk)}')


def check_total(
  leaves: Mapping[str, tuple[tuple[int, ...], np.dtype]], folder: paths.Path
) -> None:
  """Refuses arrays that take far more than the files that they are in.

  Raises:
    ValueError: Their shapes claim too much.
  """
  claimed = {
    name: math.prod(shape) * dtype.itemsize
    for name, (shape, dtype) in leaves.items()
  }
  stored = sum(file.size for file in paths.walk(folder).values())
  if sum(claimed.values()) > max(FREE, SHRUNK * stored):
    name = max(claimed, key=claimed.get)
    raise ValueError(
      f'{name} is {leaves[name][0]}: {claimed[name]} bytes in {stored} of files'
    )


def check_meta(meta: Any) -> None:
  """Refuses counters and lists of processes that no run saves.

  Raises:
    ValueError: One is of another type or range; the first is named.
  """
  if not isinstance(meta, Mapping):
    raise ValueError('is no JSON object')
  counters, states = meta.get('counters', {}), meta.get('processes', [{}])
  if not isinstance(counters, Mapping):
    raise ValueError('counters is no object')
  for name in ('env_steps', 'updates', 'offline_updates'):
    value = counters.get(name, 0)
    if type(value) is not int or not 0 <= value < COUNT:
      raise ValueError(f'counters.{name} = {str(value)[:40]}: is no count')
  if not isinstance(counters.get('clocks', {}), Mapping):
    raise ValueError('counters.clocks is no object')
  good = isinstance(states, list) and states
  if not good or not all(isinstance(state, Mapping) for state in states):
    raise ValueError('processes is no list of objects')
  for name in ('callbacks', 'config'):
    if not isinstance(meta.get(name, {}), Mapping):
      raise ValueError(f'{name} is no object')
