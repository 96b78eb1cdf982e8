"""Handles of batches, and the marks of their episodes."""

from typing import NamedTuple

import numpy as np

from dreamer_nnx.replay.chunks import ChunkPool


class Handle(NamedTuple):
  """Rows (B, T) of the pool that were trained on, and ids of their chunks."""

  rows: np.ndarray
  ids: np.ndarray


class LongSample(NamedTuple):
  """A sample given out in `consec` parts: starts (B,) and the next part."""

  rows: np.ndarray
  ids: np.ndarray
  part: int


def annotate(
  pool: ChunkPool,
  batch: dict[str, np.ndarray],
  following: np.ndarray,
  begins: bool,
) -> None:
  """Marks ends of episodes that only the step after them shows.

  Args:
    following: (B, L) or, at the end of a long sample, (B, L - 1) rows: of the
      step after each of the batch.
    begins: Whether the first step is to count as the first of an episode.
  """
  if 'is_first' not in batch:
    return
  if 'is_last' in batch:
    # (rows,) at (B, L) -> (B, L)
    is_first = pool.flat['is_first'].take(following)
    batch['is_last'][:, : is_first.shape[1]] |= is_first
  if begins:
    batch['is_first'][:, 0] = True


def consec_of(pool: ChunkPool, context: np.ndarray, part: int) -> np.ndarray:
  """Numbers (B,) of a part; -1 in place of 0 where the context has no entry.

  Args:
    context: (B, C) rows of the steps before those that are trained on.
  """
  consec = np.full(len(context), part, np.int32)
  if not part:
    # (rows,) at (B, C) -> (B,)
    consec[~pool.has_entry[context].all(1)] = -1
  return consec
