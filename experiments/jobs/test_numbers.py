"""Means of the ends of runs, and of several runs."""

import math

import numpy as np

from experiments.jobs.numbers import finite, summary, window_mean, with_error

FRAMES = np.array([100.0, 200.0, 300.0, 400.0])
RETURNS = np.array([1.0, 2.0, 3.0, 5.0])
COUNTS = np.array([1.0, 1.0, 3.0, 1.0])


def mean(end, share):
  return window_mean(FRAMES, RETURNS, COUNTS, end, share)


def test_window_counts_episodes_that_ended_in_it():
  assert mean(400, 0.5) == (3 * 3 + 5) / 4
  assert mean(300, 0.4) == (2 + 3 * 3) / 4
  assert mean(400, 1.0) == (1 + 2 + 9 + 5) / 6


def test_window_of_a_shorter_run_is_its_last():
  assert mean(1_000, 0.01) == 5
  assert mean(250, 0.01) == 2
  assert math.isnan(mean(99, 1.0))


def test_window_leaves_out_what_is_no_number():
  returns = np.array([1.0, 2.0, 3.0, np.nan])
  assert window_mean(FRAMES, returns, COUNTS, 400, 0.1) == 3


def test_finite_numbers():
  assert [finite(x) for x in (3, 2.5, -1, 0)] == [3.0, 2.5, -1.0, 0.0]
  for value in (None, True, '3', math.nan, -math.inf, 10**400, [1], {}):
    assert finite(value) is None


def test_summary():
  assert summary([1.0, 3.0]) == (2.0, 1.0)
  assert math.isnan(summary([1.0])[1])
  assert with_error([1.0, 3.0]) == '2.0 ± 1.0'
  assert with_error([1.0]) == '1.0' and with_error([]) == '–'
