"""Aggregates and their intervals against numbers computed by hand."""

import math

import numpy as np
import pytest

from experiments.tables import aggregates

# Two tasks of two runs, one of four.
UNEVEN = [np.array([0.0, 2.0]), np.array([4.0, 4.0]), np.array([1, 3, 5, 7.0])]


def test_aggregates_by_hand():
  # Means of tasks: 1, 4, 4.
  assert aggregates.mean(UNEVEN) == 3
  assert aggregates.median(UNEVEN) == 4
  # All of them in order: 0 1 [2 3 4 4] 5 7.
  assert aggregates.interquartile_mean(UNEVEN) == (2 + 3 + 4 + 4) / 4


def test_aggregates_of_many_resamples_at_once():
  many = [np.stack([task, task + 1]) for task in UNEVEN]
  for function in aggregates.AGGREGATES.values():
    one = function(UNEVEN)
    np.testing.assert_allclose(function(many), [one, one + 1])


def test_bootstrap_draws_within_tasks_only():
  # Runs of a task are the same, so that only a mixture of tasks would vary.
  scores = [np.full(3, 1.0), np.full(3, 5.0), np.full(3, 30.0)]
  for interval in aggregates.intervals(scores, resamples=50).values():
    assert interval.value == interval.low == interval.high


def test_interval_is_that_of_all_resamples():
  # A task of two runs has the means 0, 1/2, 1/2 and 1 with equal chances; with
  # two such tasks the mean is 0 in one of 16 cases, and 1 in another.
  scores = [np.array([0.0, 1.0])] * 2
  found = aggregates.intervals(scores, resamples=4_000, level=0.8)['mean']
  assert found == (0.5, 0.25, 0.75)
  found = aggregates.intervals(scores, resamples=4_000, level=0.9)['mean']
  assert found == (0.5, 0.0, 1.0)


def test_same_seed_and_pieces_give_the_same(monkeypatch):
  scores = [np.arange(5.0), np.arange(4.0) ** 2]
  first = aggregates.intervals(scores, resamples=300)
  assert aggregates.intervals(scores, resamples=300) == first
  monkeypatch.setattr(aggregates, 'CHUNK', 900)
  again = aggregates.intervals(scores, resamples=300)
  assert {k: v.value for k, v in again.items()} == {
    k: v.value for k, v in first.items()
  }
  assert again['mean'].low == pytest.approx(first['mean'].low, abs=0.5)


def test_single_runs_have_no_interval():
  found = aggregates.intervals([np.ones(1), np.zeros(1)])['median']
  assert found.value == 0.5 and math.isnan(found.low)


def test_as_rliable():
  library = pytest.importorskip(
    'rliable.library', reason='rliable is not installed; it needs pandas 2'
  )
  metrics = pytest.importorskip('rliable.metrics')
  # (runs, tasks)
  scores = np.random.default_rng(0).gamma(1.0, 1.0, (5, 26))
  ours = aggregates.intervals(list(scores.T), resamples=5_000)
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
