"""Table of the file that has the newest version of each row of the pool."""

import numpy as np

KINDS = ('data', 'side')
# Files with a lower share of newest versions are replaced, as are MANY small.
SPARSE = 0.25
MANY = 64


class Table:
  """Number of the file with the newest version of each row, by kind.

  `live` counts the newest versions in each file.
  """

  def __init__(self, rows: int):
    self.of = {kind: np.full(rows, -1, np.int32) for kind in KINDS}
    self.names: list[str] = []
    self.sizes: list[int] = []  # Rows.
    self.live = np.zeros(0, np.int64)

  def register(self, name: str, size: int) -> int:
    """Adds a file, with no newest version yet; returns its number."""
    if name in self.names[-1:]:
      return len(self.names) - 1
    self.names.append(name)
    self.sizes.append(size)
    self.live = np.append(self.live, 0)
    return len(self.names) - 1

  def release(self, kind: str, rows: np.ndarray) -> None:
    """Notes that no file has the newest version of some rows."""
    of = self.of[kind]
    old = of[rows]
    old = old[old >= 0]
    if old.size:
      self.live -= np.bincount(old, minlength=len(self.live))
    of[rows] = -1

  def assign(self, kind: str, rows: np.ndarray, number: int) -> None:
    """Notes that a file has the newest version of some rows."""
    self.release(kind, rows)
    self.of[kind][rows] = number
    self.live[number] += len(rows)

  def used(self) -> list[str]:
    """Names of the files with a newest version."""
    return [self.names[i] for i in np.flatnonzero(self.live)]

  def sparse_rows(self, kind: str, small: int) -> np.ndarray:
    """Rows of files that are mostly unused; of small ones if there are many."""
    sizes = np.array(self.sizes, np.int64)
    in_use = np.array([x.endswith(kind) for x in self.names], bool)
    in_use &= self.live > 0
    replaced = in_use & (self.live < SPARSE * sizes)
    few = in_use & (sizes < small)
    if few.sum() >= MANY:
      replaced |= few
    if not replaced.any():
      return np.zeros(0, np.int64)
    # (files + 1,) at (rows,) -> (rows,); file -1 is none.
    return np.flatnonzero(np.append(replaced, False)[self.of[kind]])
