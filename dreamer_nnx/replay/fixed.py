"""Steps that never change: filled once, windows drawn uniformly."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dreamer_nnx.errors import UserError
from dreamer_nnx.replay import memory
from dreamer_nnx.replay.chunks import step_bytes
from dreamer_nnx.replay.sources import Source, require


class FixedSteps:
  """Steps (N, ...) by key, in stretches of consecutive ones.

  A *start* is a step from which `length` steps are in one stretch. In a stretch
  `is_last` also marks a step that the first of another episode follows.

  Args:
    spaces: Shape and dtype of a step, for each key, and `classes`, if any.
    source: The steps.
    optional: Keys that are zeros where the source does not have them.
    length: Steps of a window.

  Attributes:
    missing: The optional keys that were not there.

  Raises:
    UserError: A key is missing or does not fit, nothing is as long as a
      window, or there is too little memory.
  """

  def __init__(
    self,
    spaces: Mapping[str, Any],
    source: Source,
    optional: Sequence[str],
    length: int,
  ):
    self._spaces, self._length = spaces, length
    self._lengths = np.asarray(source.lengths, np.int64)
    self._begins = np.cumsum(self._lengths) - self._lengths
    self._counts = np.maximum(self._lengths - length + 1, 0)
    self._check_length()
    self._check_memory()
    count = len(self)
    self.flat = {
      key: np.zeros((count, *x.shape), x.dtype) for key, x in spaces.items()
    }
    self.missing = set(optional)
    for part in source.parts:
      self._put(part.name, part.read(), part.rows, part.wanted)
    self._mark_ends()

  def __len__(self) -> int:
    return int(self._lengths.sum())

  @property
  def starts(self) -> int:
    return int(self._counts.sum())

  @property
  def nbytes(self) -> int:
    return len(self) * step_bytes(self._spaces)

  @property
  def episodes(self) -> int:
    """Number of episodes that begin here."""
    return int(self.flat['is_first'].sum())

  def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Draws windows (count, length, ...), each start alike."""
    ends = self._counts.cumsum()
    rank = rng.integers(ends[-1], size=count)
    piece = ends.searchsorted(rank, side='right')
    # (pieces,) at (count,) -> (count,)
    start = self._begins[piece] + rank - (ends - self._counts)[piece]
    # (count, 1) + (length,) -> (count, length)
    rows = start[:, None] + np.arange(self._length)
    # (N, ...) at (count, length) -> (count, length, ...)
    return {key: x.take(rows, axis=0) for key, x in self.flat.items()}

  def _put(
    self, name: str, arrays: Mapping[str, np.ndarray], rows: Any, wanted: Any
  ) -> None:
    for key, flat in self.flat.items():
      if key in self.missing and key not in arrays:
        continue
      self.missing.discard(key)
      value = require(arrays, key, name)
      count = len(arrays['reward']) if 'reward' in arrays else len(value)
      _check(f'{name}: {key!r}', value, (count, *flat.shape[1:]), flat.dtype)
      classes = getattr(self._spaces[key], 'classes', None)
      _check_classes(f'{name}: {key!r}', value, flat.dtype, classes)
      flat[rows] = value[wanted]

  def _mark_ends(self) -> None:
    is_first, is_last = self.flat['is_first'], self.flat['is_last']
    within = np.ones(len(self), bool)
    within[self._begins] = False
    is_last[:-1] |= (is_first & within)[1:]

  def _check_length(self) -> None:
    if not self._counts.sum():
      longest = int(self._lengths.max(initial=0))
      raise UserError(
        f'a window has {self._length} steps, and no more than {longest} are '
        f'there in a row, of {len(self)} in all. Use more data, or a smaller '
        'config.train.batch_length.',
        'path',
      )

  def _check_memory(self) -> None:
    free = memory.available_bytes()
    if self.nbytes > free:
      raise UserError(
        f'the {len(self)} steps take {memory.gib(self.nbytes)} of memory, and '
        f'{memory.gib(free)} are free. Use fewer files.',
        'path',
      )


def _check(
  what: str, value: np.ndarray, shape: tuple[int, ...], dtype: np.dtype
) -> None:
  """Refuses an array that is not of a space."""
  if value.shape != shape:
    raise UserError(f'{what} is {value.shape}, and must be {shape}.', 'path')
  if not np.can_cast(value.dtype, dtype, 'same_kind'):
    raise UserError(f'{what} is {value.dtype}, and must be {dtype}.', 'path')
  if value.dtype.kind == 'f' and not np.isfinite(value).all():
    raise UserError(f'{what} is NaN or infinite somewhere.', 'path')


def _check_classes(
  what: str,
  value: np.ndarray,
  dtype: np.dtype,
  classes: Sequence[int] | None,
) -> None:
  """Refuses numbers (N,) or (N, n) of which there are no such classes."""
  if classes is None:
    if dtype == np.int32 and value.size and value.min() < 0:
      text = f'{what} is {value.min()} somewhere; classes are counted from 0.'
      raise UserError(text, 'path')
    return
  wrong = (value < 0) | (value >= np.reshape(classes, value.shape[1:]))
  if wrong.any():
    raise UserError(
      f'{what} is {value[wrong][0]} somewhere; the environment has '
      f'{" x ".join(map(str, classes))} classes, which are counted from 0.',
      'path',
    )
