"""Aggregates and their intervals against numbers computed by hand."""

import math

import numpy as np
import pytest

from dreamer_nnx.report import statistics

# Two tasks of two runs, one of four.
UNEVEN = [np.array([0.0, 2.0]), np.array([4.0, 4.0]), np.array([1, 3, 5, 7.0])]


def test_aggregates_by_hand():
  # Means of tasks: 1, 4, 4.
  assert statistics.mean(UNEVEN) == 3
  assert statistics.median(UNEVEN) == 4
  # All of them in order: 0 1 [2 3 4 4] 5 7.
  assert statistics.interquartile_mean(UNEVEN) == (2 + 3 + 4 + 4) / 4


def test_aggregates_of_many_resamples_at_once():
  many = [np.stack([task, task + 1]) for task in UNEVEN]
  for function in statistics.AGGREGATES.values():
    one = function(UNEVEN)
    np.testing.assert_allclose(function(many), [one, one + 1])


def test_bootstrap_draws_within_tasks_only():
  # Runs of a task are the same, so that only a mixture of tasks would vary.
  scores = [np.full(3, 1.0), np.full(3, 5.0), np.full(3, 30.0)]
  for interval in statistics.intervals(scores, resamples=50).values():
    assert interval.value == interval.low == interval.high


def test_interval_is_that_of_all_resamples():
  # A task of two runs has the means 0, 1/2, 1/2 and 1 with equal chances; with
  # two such tasks the mean is 0 in one of 16 cases, and 1 in another.
  scores = [np.array([0.0, 1.0])] * 2
  found = statistics.intervals(scores, resamples=4_000, level=0.8)['mean']
  assert found == (0.5, 0.25, 0.75)
  found = statistics.intervals(scores, resamples=4_000, level=0.9)['mean']
  assert found == (0.5, 0.0, 1.0)


def test_same_seed_and_pieces_give_the_same(monkeypatch):
  scores = [np.arange(5.0), np.arange(4.0) ** 2]
  first = statistics.intervals(scores, resamples=300)
  assert statistics.intervals(scores, resamples=300) == first
  monkeypatch.setattr(statistics, 'CHUNK', 900)
  again = statistics.intervals(scores, resamples=300)
  assert {k: v.value for k, v in again.items()} == {
    k: v.value for k, v in first.items()
  }
  assert again['mean'].low == pytest.approx(first['mean'].low, abs=0.5)


def test_single_runs_have_no_interval():
  found = statistics.intervals([np.ones(1), np.zeros(1)])['median']
  assert found.value == 0.5 and math.isnan(found.low)


def test_band_is_that_of_the_runs_that_are_there():
  values = np.array([[0.0, 4.0, 1.0], [2.0, 4.0, np.nan], [7.0, 4.0, np.nan]])
  found = statistics.band(values, statistics.over_runs('median'))
  np.testing.assert_array_equal(found.value, [2, 4, 1])
  # The lowest of three draws of 0, 2 and 7 has the median 0 in 7 of 27 cases.
  np.testing.assert_array_equal(found.low, [0, 4, np.nan])
  np.testing.assert_array_equal(found.high, [7, 4, np.nan])


def test_band_of_four_runs_is_of_the_middle_two():
  values = np.array([[0.0], [1.0], [3.0], [100.0]])
  over = statistics.over_runs('interquartile mean')
  assert statistics.band(values, over, resamples=50).value == [2]


def test_band_without_any_run_is_empty():
  found = statistics.band(np.full((2, 3), np.nan), statistics.over_runs('mean'))
  assert np.isnan(found.value).all()


def test_as_rliable():
  library = pytest.importorskip(
    'rliable.library', reason='rliable is not installed; it needs pandas 2'
  )
  metrics = pytest.importorskip('rliable.metrics')
  # (runs, tasks)
  scores = np.random.default_rng(0).gamma(1.0, 1.0, (5, 26))
  ours = statistics.intervals(list(scores.T), resamples=5_000)
  theirs = {
    'mean': metrics.aggregate_mean,
    'median': metrics.aggregate_median,
    'interquartile mean': metrics.aggregate_iqm,
  }
  for name, function in theirs.items():
    assert ours[name].value == pytest.approx(function(scores))
  points, ends = library.get_interval_estimates(
    {'a': scores},
    lambda x: np.array([f(x) for f in theirs.values()]),
    reps=5_000,
  )
  for index, name in enumerate(theirs):
    width = ends['a'][1, index] - ends['a'][0, index]
    assert ours[name].value == pytest.approx(points['a'][index])
    for end, low_or_high in zip(
      ends['a'][:, index], ours[name][1:], strict=True
    ):
      assert abs(end - low_or_high) < 0.1 * width
