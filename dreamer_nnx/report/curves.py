"""Curves of any length in bounded memory, thinned while they are read."""

from array import array
from typing import NamedTuple

import numpy as np

# Stretches into which a curve is cut, at least half as many; and how many
# points are waited for before they are put into stretches.
STRETCHES = 1024
WAITING = 4096
# What is kept of a stretch: its first, lowest, highest and last point.
FIRST, LOWEST, HIGHEST, LAST = range(4)


class Points(NamedTuple):
  """Steps that grow, or stay, and the values at them; each (N,)."""

  steps: np.ndarray
  values: np.ndarray


class Curve:
  """Values at steps that never shrink; of many points some are kept.

  A long curve is cut into stretches of as many points each. Of a stretch the
  first, the lowest, the highest and the last point are kept, and the mean.

  Attributes:
    count: How many points were added.
  """

  def __init__(self) -> None:
    self.count = 0
    self._steps, self._values = array('d'), array('d')
    # (stretches, 4 points, step and value); (stretches, [points, sums of both])
    self._kept, self._sums = np.empty((0, 4, 2)), np.empty((0, 3))
    self._size = 1

  def add(self, step: float, value: float) -> None:
    """Adds a point, in place of the last one if that has the same step."""
    if self._steps and self._steps[-1] == step:
      self._values[-1] = value
      return
    self.count += 1
    self._steps.append(step)
    self._values.append(value)
    if len(self._steps) >= max(WAITING, self._size):
      self._fold()

  def cut(self, step: float) -> None:
    """Removes the points from a step on, as far as they are kept."""
    while self._steps and self._steps[-1] >= step:
      self._steps.pop()
      self._values.pop()
    late = self._kept[:, :, 0] >= step
    begun = ~late[:, FIRST]
    self._kept, self._sums = self._kept[begun], self._sums[begun]
    if late[begun].any():
      # What is left of the last stretch stands for all of it.
      last, gone = self._kept[-1], late[begun][-1]
      last[gone] = last[FIRST]
      left = last[~gone]
      self._sums[-1] = len(left), *left.sum(0)
    self.count = int(self._sums[:, 0].sum()) + len(self._steps)

  def points(self, limit: int) -> Points:
    """Returns at most `limit` points, 8 or more: all, or those of stretches."""
    kept, _ = self._stretches(limit // 4 if self.count > limit else self.count)
    points = kept.reshape(-1, 4, 2)
    order = np.argsort(points[:, :, 0], axis=1, kind='stable')
    points = np.take_along_axis(points, order[..., None], 1).reshape(-1, 2)
    new = np.ones(len(points), bool)
    new[1:] = (points[1:] != points[:-1]).any(1)
    return Points(*points[new].T)

  def means(self, limit: int) -> tuple[Points, np.ndarray]:
    """Means of at most `limit` stretches, and of how many points each is."""
    _, sums = self._stretches(limit)
    counts = sums[:, 0]
    return Points(sums[:, 1] / counts, sums[:, 2] / counts), counts

  def _fold(self) -> None:
    """Puts the points that wait into stretches."""
    kept, sums = _cut_up(self._steps, self._values, self._size)
    self._kept = np.concatenate([self._kept, kept])
    self._sums = np.concatenate([self._sums, sums])
    del self._steps[:], self._values[:]
    while len(self._kept) > STRETCHES:
      self._kept, self._sums = _joined(self._kept, self._sums)
      self._size *= 2

  def _stretches(self, limit: int) -> tuple[np.ndarray, np.ndarray]:
    kept, sums = _cut_up(self._steps, self._values, self._size)
    kept = np.concatenate([self._kept, kept])
    sums = np.concatenate([self._sums, sums])
    while len(kept) > max(limit, 1):
      kept, sums = _joined(kept, sums)
    return kept, sums


def _cut_up(
  steps: array, values: array, size: int
) -> tuple[np.ndarray, np.ndarray]:
  points = np.stack([np.array(steps), np.array(values)], -1)
  whole = len(points) // size
  cut = points[: whole * size].reshape(whole, size, 2)
  parts = [cut, points[None, whole * size :]]
  found = [_summarised(part) for part in parts if part.size]
  if not found:
    return np.empty((0, 4, 2)), np.empty((0, 3))
  kept, sums = zip(*found, strict=True)
  return np.concatenate(kept), np.concatenate(sums)


def _summarised(cut: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns what is kept of (stretches, points, 2), and the sums."""
  rows, count = np.arange(len(cut)), cut.shape[1]
  lowest, highest = cut[:, :, 1].argmin(1), cut[:, :, 1].argmax(1)
  kept = [cut[:, 0], cut[rows, lowest], cut[rows, highest], cut[:, -1]]
  counts = np.full((len(cut), 1), count)
  return np.stack(kept, 1), np.concatenate([counts, cut.sum(1)], 1)


def _joined(
  kept: np.ndarray, sums: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Two stretches as one; the last one stays alone if their number is odd."""
  pairs = len(kept) // 2
  two = kept[: 2 * pairs].reshape(pairs, 2, 4, 2)
  rows = np.arange(pairs)
  lowest = two[rows, two[:, :, LOWEST, 1].argmin(1), LOWEST]
  highest = two[rows, two[:, :, HIGHEST, 1].argmax(1), HIGHEST]
  ends = two[:, 0, FIRST], lowest, highest, two[:, 1, LAST]
  added = sums[: 2 * pairs].reshape(pairs, 2, 3).sum(1)
  return (
    np.concatenate([np.stack(ends, 1), kept[2 * pairs :]]),
    np.concatenate([added, sums[2 * pairs :]]),
  )
