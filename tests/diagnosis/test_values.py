"""Calibration of values, against returns by hand."""

import numpy as np
import pytest

from dreamer_nnx.diagnosis.values import Episode, calibration

DISCOUNT = 0.9


def made(count, offset=0.0, slope=1.0, terminal=True, seed=0):
  """Episodes whose values are their returns, but for a bias and a slope."""
  rng, episodes = np.random.default_rng(seed), []
  for _ in range(count):
    rewards = rng.normal(size=30)
    returns = np.zeros(30)
    for t in range(28, -1, -1):
      returns[t] = rewards[t + 1] + DISCOUNT * returns[t + 1]
    episodes.append(Episode(returns / slope + offset, rewards, terminal))
  return episodes


def test_returns_follow_each_step():
  episode = Episode(np.zeros(3), np.array([9.0, 1.0, 2.0]), True)
  found = calibration([episode], DISCOUNT)
  np.testing.assert_allclose(found.returns, [1 + 0.9 * 2, 2])
  # What was cut off goes on as predicted.
  cut = Episode(np.array([0.0, 0.0, 10.0]), np.array([9.0, 1.0, 2.0]), False)
  found = calibration([cut], DISCOUNT)
  np.testing.assert_allclose(found.returns, [1 + 0.9 * 11, 11])


def test_good_values_are_well():
  found = calibration(made(8), DISCOUNT)
  assert abs(found.bias) < 1e-9
  assert found.error < 1e-9
  assert found.slope == pytest.approx(1)
  assert not found.warning
  np.testing.assert_allclose(found.centers, found.mean, atol=1e-9)
  assert (found.low <= found.high).all()
  assert len(found.centers) == 10


def test_bias_is_said():
  found = calibration(made(8, offset=5), DISCOUNT)
  assert found.bias == pytest.approx(5)
  assert 'on average it is 5 too high' in found.warning
  assert 'too low' in calibration(made(8, offset=-5), DISCOUNT).warning


@pytest.mark.parametrize('share', [0.0, 0.3, 0.9])
def test_values_that_still_grow_are_well(share):
  """Values begin at 0 and follow the returns."""
  for sign in (1, -1):
    rewards = np.full(30, 1.0 * sign)
    returns = np.zeros(30)
    for t in range(28, -1, -1):
      returns[t] = rewards[t + 1] + DISCOUNT * returns[t + 1]
    found = calibration([Episode(share * returns, rewards, True)], DISCOUNT)
    assert 'on average' not in found.warning
    found = calibration([Episode(2 * returns, rewards, True)], DISCOUNT)
    word = 'too high' if sign > 0 else 'too low'
    assert word in found.warning


def test_a_shift_is_said_of_episodes_that_are_cut_off():
  rewards = np.ones(30)
  right = Episode(np.full(30, 10.0), rewards, False)
  assert not calibration([right], DISCOUNT).warning
  found = calibration([Episode(np.full(30, 20.0), rewards, False)], DISCOUNT)
  np.testing.assert_array_less(found.earned, 10)
  assert 'too high' in found.warning


def test_the_slope_of_nearly_equal_values_is_no_matter():
  rng = np.random.default_rng(0)
  noisy = Episode(10 + rng.normal(size=30), np.ones(30), False)
  found = calibration([noisy], DISCOUNT)
  assert not 0.5 <= found.slope <= 4
  assert not found.warning


def test_without_a_step_nothing_is_said():
  assert not calibration([], DISCOUNT).warning


def test_a_wrong_slope_is_said():
  warning = calibration(made(8, slope=0.25), DISCOUNT).warning
  assert 'where it is higher by 1, returns are higher by 0.25' in warning
  assert not calibration(made(8, slope=0.9), DISCOUNT).warning


def test_one_value_for_all_has_no_slope():
  found = calibration([Episode(np.ones(9), np.zeros(9), False)], 1.0)
  assert np.isnan(found.slope)
  assert not found.warning
