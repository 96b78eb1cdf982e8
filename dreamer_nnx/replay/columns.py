"""Changes of the columns of a pool since they were stored."""

import numpy as np

from dreamer_nnx.replay.chunks import ChunkPool

# Before the names of columns in a file.
PREFIX = 'column/'


class Columns:
  """Copies of the columns as they are stored, to tell which rows changed."""

  def __init__(self, pool: ChunkPool):
    self._pool = pool
    self._stored = {name: x.copy() for name, x in pool.columns.items()}

  def changed(self) -> np.ndarray:
    """Flags (rows,) of those that differ from what is stored."""
    flags = np.zeros(len(self._pool.has_entry), bool)
    for name, column in self._pool.columns.items():
      # As numbers without NaN, which differs from itself.
      bits = f'u{column.itemsize}'
      flags |= column.view(bits) != self._stored[name].view(bits)
    return flags

  def note(self, rows: np.ndarray | slice) -> None:
    """Notes that some rows are stored as they are now."""
    for name, column in self._pool.columns.items():
      self._stored[name][rows] = column[rows]

  def frozen(self, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Copies of the columns at rows (n,), by their names in files."""
    return {PREFIX + k: x[rows] for k, x in self._pool.columns.items()}
