"""Statistics over the runs of tasks, with bootstrap intervals.

Source: Agarwal et al. 2021, arXiv:2108.13264; definitions as in its rliable.
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


class Band(NamedTuple):
  """An aggregate of runs at every point, and its intervals; each (points,)."""

  value: np.ndarray
  low: np.ndarray
  high: np.ndarray


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
  found = {}
  for name, function in AGGREGATES.items():
    ends = _ends(scores, function, resamples, level, seed)
    found[name] = Interval(float(function(scores)), *map(float, ends))
  return found


def band(
  values: np.ndarray,
  function: Callable[[np.ndarray], np.ndarray],
  resamples: int = 2_000,
  level: float = 0.95,
  seed: int = 0,
) -> Band:
  """An aggregate of the runs at every point, with its bootstrap intervals.

  Points at which a run is missing are those of the others. Those of a single
  run have no interval: NaN.

  Args:
    values: (runs, points); NaN where a run has none.
    function: From (..., runs) to (...): `over_runs` has some.
  """
  result = Band(*(np.full(values.shape[1], np.nan) for _ in Band._fields))
  there = np.isfinite(values)
  # Runs end at different points, so there are about as many cases as runs.
  cases, case_of = np.unique(there, axis=1, return_inverse=True)
  for index, case in enumerate(cases.T):
    points = np.flatnonzero(case_of.ravel() == index)
    if case.any():
      runs = values[np.ix_(case, points)].T
      one = lambda tasks: function(tasks[0])
      ends = _ends([runs], one, resamples, level, seed)
      for field, value in zip(result, (function(runs), *ends), strict=True):
        field[points] = value
  return result


def over_runs(name: str) -> Callable[[np.ndarray], np.ndarray]:
  """An aggregate of the runs of one task, from (..., runs) to (...).

  Of one task, rliable's median is the mean of its runs. The median here is
  that of the runs.
  """
  if name == 'median':
    return lambda runs: np.median(runs, -1)
  return lambda runs: AGGREGATES[name]([runs])


def _ends(
  scores: Scores,
  function: Callable[[Scores], np.ndarray],
  resamples: int,
  level: float,
  seed: int,
) -> tuple[np.ndarray, np.ndarray]:
  """The percentiles of an aggregate of (..., runs) of each task: (...)."""
  sizes = [task.shape[-1] for task in scores]
  # A task of one run is drawn as it is.
  varied = [index for index, size in enumerate(sizes) if size > 1]
  if not varied:
    nan = np.full(np.shape(function(scores)), np.nan)
    return nan, nan

  def statistic(*drawn: np.ndarray, axis: int) -> np.ndarray:
    whole, found = drawn[0].shape[:-1], dict(zip(varied, drawn, strict=True))
    alone = lambda task: np.broadcast_to(task[..., None, :], (*whole, 1))
    tasks = enumerate(scores)
    return function([found[i] if i in found else alone(x) for i, x in tasks])

  held = sum(np.size(task) for task in scores)
  drawn = stats.bootstrap(
    [scores[index] for index in varied],
    statistic,
    n_resamples=resamples,
    batch=max(1, CHUNK // held),
    vectorized=True,
    axis=-1,
    confidence_level=level,
    method='percentile',
    rng=np.random.default_rng(seed),
  )
  return drawn.confidence_interval
