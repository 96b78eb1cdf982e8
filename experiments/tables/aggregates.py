"""Statistics over the tasks of a suite, with intervals.

Source: Agarwal et al. 2021, arXiv:2108.13264.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

# Resamples of this many scores are held at once.
CHUNK = 2_000_000
Scores = Sequence[np.ndarray]


class Interval(NamedTuple):
  """An aggregate, and the percentiles of its resamples."""

  value: float
  low: float
  high: float


def mean(scores: Scores) -> np.ndarray:
  """Mean over tasks of their means over runs.

  Args:
    scores: Of each task, (..., runs); the runs may differ in number.

  Returns:
    (...).
  """
  return np.mean(_task_means(scores), -1)


def median(scores: Scores) -> np.ndarray:
  """Median over tasks of their means over runs; as `mean`."""
  return np.median(_task_means(scores), -1)


def interquartile_mean(scores: Scores) -> np.ndarray:
  """Mean of the middle half of the runs of all tasks together; as `mean`."""
  together = np.concatenate(list(scores), -1)
  return stats.trim_mean(together, 0.25, axis=-1)


def _task_means(scores: Scores) -> np.ndarray:
  return np.stack([np.mean(task, -1) for task in scores], -1)


AGGREGATES: dict[str, Callable[[Scores], np.ndarray]] = {
  'mean': mean,
  'median': median,
  'interquartile mean': interquartile_mean,
}


def intervals(
  scores: Scores,
  resamples: int = 10_000,
  level: float = 0.95,
  seed: int = 0,
) -> dict[str, Interval]:
  """Every aggregate, with a stratified percentile bootstrap.

  The runs of each task are drawn anew, with replacement, as many as there are;
  the tasks stay as they are. With one run a task there is no interval: NaN.

  Args:
    scores: Of each task, (runs,).
    level: Share of the resamples within the interval.
  """
  values = {name: float(f(scores)) for name, f in AGGREGATES.items()}
  if max(map(len, scores)) < 2:
    nan = float('nan')
    return {name: Interval(value, nan, nan) for name, value in values.items()}
  rng = np.random.default_rng(seed)
  drawn: dict[str, list[np.ndarray]] = {name: [] for name in AGGREGATES}
  size = max(1, CHUNK // sum(map(len, scores)))
  for start in range(0, resamples, size):
    count = min(size, resamples - start)
    sample = [_resampled(rng, task, count) for task in scores]
    for name, function in AGGREGATES.items():
      drawn[name].append(function(sample))
  ends = 50 * (1 - level), 50 * (1 + level)
  return {
    name: Interval(value, *np.percentile(np.concatenate(drawn[name]), ends))
    for name, value in values.items()
  }


def _resampled(
  rng: np.random.Generator, task: np.ndarray, count: int
) -> np.ndarray:
  """Draws from (runs,) to (count, runs)."""
  return task[rng.integers(len(task), size=(count, len(task)))]
