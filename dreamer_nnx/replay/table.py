"""Which stored file has the newest version of each row of the pool."""

import numpy as np

KINDS = ('data', 'side')
# A file with a lower share of newest versions is given up; so are MANY small.
SPARSE = 0.25
MANY = 64


class Table:
  """Which file has the newest version of each row, and how many each has."""

  def __init__(self, rows: int):
    self.of = {kind: np.full(rows, -1, np.int32) for kind in KINDS}
    self.names: list[str] = []
    self.sizes: list[int] = []  # Rows.
    self.live = np.zeros(0, np.int64)

  def open(self, name: str, size: int) -> int:
    """The number of a file, which holds no newest version yet."""
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
    """Files with a newest version."""
    return [self.names[i] for i in np.flatnonzero(self.live)]

  def worn(self, kind: str, small: int) -> np.ndarray:
    """Rows of files that hold little; of small ones where there are many."""
    sizes = np.array(self.sizes, np.int64)
    mine = np.array([x.endswith(kind) for x in self.names], bool)
    mine &= self.live > 0
    worn = mine & (self.live < SPARSE * sizes)
    few = mine & (sizes < small)
    if few.sum() >= MANY:
      worn |= few
    if not worn.any():
      return np.zeros(0, np.int64)
    return np.flatnonzero(np.append(worn, False)[self.of[kind]])
