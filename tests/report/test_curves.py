"""Curves: what is kept of many points."""

import numpy as np
import pytest

from dreamer_nnx.report.curves import STRETCHES, WAITING, Curve
from tests.report import made


def curve_of(values, scale=10):
  curve = Curve()
  for index, value in enumerate(values):
    curve.add(scale * index, value)
  return curve


@pytest.mark.parametrize('count', [1, 2, 7, 512, WAITING - 1])
def test_a_short_curve_keeps_every_point(count):
  values = made.noisy(count)
  steps, found = curve_of(values).points(10_000)
  np.testing.assert_array_equal(steps, 10 * np.arange(count))
  np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize('count', [600, 5_000, 40_001])
@pytest.mark.parametrize('limit', [8, 100, 512])
def test_thinning_keeps_first_last_and_extremes(count, limit):
  values = made.noisy(count)
  steps, found = curve_of(values).points(limit)
  assert len(found) <= limit
  assert (np.diff(steps) >= 0).all()
  points = dict(zip(steps, found, strict=True))
  for index in (0, count // 3, count // 2, count - 1):
    assert points[10 * index] == values[index]
  # Nothing is made up.
  np.testing.assert_array_equal(found, values[(steps / 10).astype(int)])


def test_thinning_keeps_the_envelope_everywhere():
  # Of each stretch the extremes, so a spike is seen wherever it is.
  for place in (5, 9_000, 29_999):
    values = np.zeros(30_000)
    values[place] = 1
    assert curve_of(values).points(256).values.max() == 1


def test_stretches_are_of_equal_lengths():
  curve = curve_of(made.noisy(50_000))
  (steps, _), counts = curve.means(10_000)
  assert STRETCHES / 2 <= len(steps) <= STRETCHES + WAITING
  assert counts.max() <= 2 * np.median(counts)
  assert counts.sum() == curve.count == 50_000


@pytest.mark.parametrize('limit', [1, 16, 512])
def test_means_are_those_of_all_points(limit):
  values = made.noisy(20_000)
  (_, means), counts = curve_of(values).means(limit)
  assert len(means) <= limit
  assert np.average(means, weights=counts) == pytest.approx(values.mean())


def test_the_same_step_again_replaces_its_value():
  curve = Curve()
  for step, value in ((1, 1.0), (2, 2.0), (2, 3.0)):
    curve.add(step, value)
  assert curve.count == 2
  np.testing.assert_array_equal(curve.points(8).values, [1, 3])


@pytest.mark.parametrize('count', [50, 20_000])
@pytest.mark.parametrize('end', [0, 1, 33, 10_007, 30_000])
def test_a_curve_that_is_cut_ends_before_the_step(count, end):
  curve = curve_of(made.noisy(count), scale=1)
  curve.cut(end)
  steps, _ = curve.points(100)
  assert (steps < end).all()
  # Whole, but for the stretch in which it is cut.
  least = min(end, count)
  assert least - 2 * count / STRETCHES <= curve.count <= least
  curve.add(end, 99.0)
  assert curve.points(100).values[-1] == 99
