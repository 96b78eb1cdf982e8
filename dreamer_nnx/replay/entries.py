"""Entries of stored files in the formats of today, as far as they fit."""

from collections.abc import Mapping

import numpy as np
from absl import logging

from dreamer_nnx.replay.chunks import ChunkPool

# The key of a file that tells which of its steps have an entry; without it
# all have.
HAS_ENTRY = 'has_entry'


class MisfitError(ValueError):
  """An entry that is of other dynamics; the message says what differs."""


class Entries:
  """Brings stored entries into the formats of a pool.

  Floats are cast to other floats, integers to wider ones. One-hot vectors
  (..., S, C) of floats, which version 0.1 stored, become their classes
  (..., S) where the pool has integers; all zeros are no entry.
  """

  def __init__(self, pool: ChunkPool):
    self._pool = pool
    # Numbers (rows,) of what is known of each: 0 nothing, 1 whether it has an
    # entry, and further ones why that does not fit.
    self._known = np.zeros(len(pool.has_entry), np.int32)
    self._reasons: list[str] = []

  def put(
    self, arrays: Mapping[str, np.ndarray], rows: np.ndarray, wanted: object
  ) -> None:
    """Writes entries of a file to the pool, or notes why they do not fit.

    Args:
      arrays: All of a side file, (n, ...).
      rows: (m,) of the pool.
      wanted: Index of these steps in the arrays.
    """
    pool = self._pool
    found = {k: x[wanted] for k, x in arrays.items() if k.startswith('latent/')}
    if not found or not pool.latents:
      return
    held = np.ones(len(rows), bool)
    if HAS_ENTRY in arrays:
      held &= arrays[HAS_ENTRY][wanted]
    self._known[rows], pool.has_entry[rows] = 1, False
    try:
      fitted = _all_fitted(found, {k: pool.flat[k] for k in pool.latents})
    except MisfitError as error:
      self._known[rows[held]] = self._number(str(error))
      return
    for key, (value, some) in fitted.items():
      pool.flat[key][rows] = value
      held &= some
    pool.has_entry[rows] = held

  def finish(self, held: np.ndarray) -> np.ndarray:
    """Sets the entries that are missing to zero; warns of what did not fit.

    Args:
      held: Flags (rows,) of the steps held.

    Returns:
      Rows of which no file tells whether they have an entry.
    """
    pool = self._pool
    if not pool.latents:
      pool.has_entry[held] = True
      return np.zeros(0, np.int64)
    without = np.flatnonzero(held & ~pool.has_entry)
    for key in pool.latents:
      pool.flat[key][without] = np.zeros((), pool.flat[key].dtype)
    counts = np.bincount(self._known[held], minlength=2).tolist()
    texts = ['are not stored', '', *(f'do not fit: {x}' for x in self._reasons)]
    found = [
      f'the latents of {count} of {held.sum()} steps {text}'
      for count, text in zip(counts, texts, strict=False)
      if count and text
    ]
    if found:
      logging.warning(
        'replay: %s. Sequences that would go on from there begin from nothing.',
        '; '.join(found),
      )
    return np.flatnonzero(held & (self._known == 0))

  def _number(self, reason: str) -> int:
    if reason not in self._reasons:
      self._reasons.append(reason)
    return 2 + self._reasons.index(reason)


def _all_fitted(
  found: Mapping[str, np.ndarray], like: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  if found.keys() != like.keys():
    raise MisfitError(f'they are {sorted(found)}, not {sorted(like)}')
  return {key: _fitted(key, value, like[key]) for key, value in found.items()}


def _fitted(
  key: str, value: np.ndarray, like: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Values (n, ...) in the format of `like` (rows, ...), and flags (n,).

  Raises:
    MisfitError: They cannot be brought into it.
  """
  shape, wanted = value.shape[1:], like.shape[1:]
  if shape == wanted and _casts(value.dtype, like.dtype):
    # Numbers out of range become infinite, as they would when written back.
    with np.errstate(over='ignore'):
      return value.astype(like.dtype), np.ones(len(value), bool)
  one_hot = shape and shape[:-1] == wanted and _is_float(value.dtype)
  most = np.iinfo(like.dtype).max + 1 if like.dtype.kind in 'iu' else 0
  if one_hot and shape[-1] <= most:
    # (n, ..., S, C) -> (n, ..., S) -> (n,)
    held = value.any(-1).reshape(len(value), -1).all(-1)
    return value.argmax(-1).astype(like.dtype), held
  raise MisfitError(
    f'{key!r} is {value.dtype.name} {shape}, not {like.dtype.name} {wanted}'
  )


def _casts(one: np.dtype, other: np.dtype) -> bool:
  if _is_float(one) and _is_float(other):
    return True
  return np.can_cast(one, other, 'safe')


def _is_float(dtype: np.dtype) -> bool:
  """Tells whether it is a float format, of numpy or of ml_dtypes."""
  return dtype.name.startswith(('float', 'bfloat'))
