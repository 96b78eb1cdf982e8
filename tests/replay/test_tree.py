import numpy as np

from dreamer_nnx.replay.tree import SumTree


def test_points_fall_on_the_row_whose_interval_holds_them():
  tree = SumTree(70_000)
  rows = np.array([3, 255, 256, 69_999])
  tree.set(rows, np.array([1.0, 2.0, 4.0, 0.5]))
  points = np.array([0.0, 0.99, 1.0, 2.99, 3.0, 6.99, 7.0, 7.49])
  found = tree.find(points)
  assert found.tolist() == [3, 3, 255, 255, 256, 256, 69_999, 69_999]
  assert tree.total == 7.5


def test_a_row_without_weight_is_never_found():
  rng = np.random.default_rng(0)
  tree = SumTree(1000)
  weights = rng.random(1000) * (rng.random(1000) < 0.3)
  tree.set(np.arange(1000), weights)
  # The end of the range included, where rounding could overshoot.
  points = np.append(rng.random(5000) * tree.total, tree.total)
  found = tree.find(points)
  assert (weights[found] > 0).all()
  cumulative = weights.cumsum()
  expect = cumulative.searchsorted(points[:-1], side='right')
  # Sums in another order round apart only next to a boundary.
  assert (found[:-1] == expect).mean() > 0.999


def test_sums_do_not_depend_on_the_order_of_changes():
  rng = np.random.default_rng(1)
  weights = rng.random(3000)
  whole, pieces = SumTree(3000), SumTree(3000)
  whole.set(np.arange(3000), weights)
  pieces.set(np.arange(3000), rng.random(3000))
  for rows in np.split(rng.permutation(3000), 60):
    pieces.set(rows, weights[rows])
  points = rng.random(2000) * whole.total
  assert pieces.total == whole.total
  np.testing.assert_array_equal(pieces.find(points), whole.find(points))
