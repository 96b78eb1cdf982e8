"""A sum tree over the rows of the pool, searched for a whole batch at once."""

import itertools

import numpy as np

_FAN = 64


class SumTree:
  """Non-negative weights and their sums, 64 children to a node.

  Four levels reach 16 million weights, so that a draw is four array
  operations over the batch. A node is always summed afresh from its children:
  its value depends on the weights alone, not on the order of changes.
  """

  def __init__(self, size: int):
    self._levels = []
    while True:
      nodes = -(-size // _FAN)
      self._levels.append(np.zeros((nodes, _FAN)))
      if nodes == 1:
        break
      size = nodes

  @property
  def weights(self) -> np.ndarray:
    # (nodes, 64) -> (64 nodes,)
    return self._levels[0].reshape(-1)

  @property
  def total(self) -> float:
    return float(self._levels[-1].sum())

  def set(self, rows: np.ndarray, weights: np.ndarray | float) -> None:
    """Changes the weights of some rows, which may repeat."""
    self.weights[rows] = weights
    for below, above in itertools.pairwise(self._levels):
      # Rows (n,) -> their nodes (m,)
      rows = np.unique(rows // _FAN)
      # (nodes, 64) -> (m, 64) -> (m,)
      above.reshape(-1)[rows] = below[rows].sum(-1)

  def find(self, points: np.ndarray) -> np.ndarray:
    """Rows (n,) of positive weight at points (n,) in [0, total).

    Row i has the interval from the sum of the weights before it to that sum
    plus its weight.
    """
    each, nodes = np.arange(len(points)), np.zeros(len(points), np.int64)
    for level in reversed(self._levels):
      # (nodes, 64) at (n,) -> (n, 64)
      cumulative = level[nodes].cumsum(-1)
      # Rounding can leave a point at or past the end of its node.
      points = np.minimum(points, np.nextafter(cumulative[:, -1], 0))
      child = (cumulative <= points[:, None]).sum(-1)
      # (n, 64) at (n,), (n,) -> (n,)
      before = cumulative[each, np.maximum(child - 1, 0)]
      points = points - np.where(child > 0, before, 0)
      nodes = nodes * _FAN + child
    return nodes
