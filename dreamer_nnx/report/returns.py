"""Learning curves: returns of training and evaluations, seeds as a band."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dreamer_nnx.report import axes, statistics
from dreamer_nnx.report import groups as grouping
from dreamer_nnx.report.curves import Curve
from dreamer_nnx.report.groups import Group
from dreamer_nnx.report.runs import Run
from dreamer_nnx.report.sections import Chart, Section, Series, Table

TRAINING = 'episode/return'
EVALUATED = {
  'eval/return': 'Evaluations, greedy actions',
  'eval_sampled/return': 'Evaluations, sampled actions',
}
MIDDLE = 'interquartile mean'
# Points of a band: those of the log if there are no more, else means of bins.
POINTS, BINS, STRETCHES = 200, 100, 512
# Share of the steps at the end whose training episodes are the last ones.
END = 0.1
Aligned = tuple[np.ndarray, np.ndarray]


def section(groups: Sequence[Group]) -> Section | None:
  """Curves and final numbers of returns; None if there are no episodes."""
  charts, rows = [], []
  for name in (TRAINING, *EVALUATED):
    charts += list(_charts(name, groups))
    rows += list(_rows(name, groups))
  if not charts:
    return None
  head = 'returns', 'group', 'seeds', 'mean', 'median', MIDDLE
  table = Table(head, rows, 'At the end')
  several = any(len(group.runs) > 1 for group in groups)
  text = 'Returns of training are means over the episodes between two lines.'
  bands = (
    '\nLines are interquartile means over the seeds of a group, dashes their '
    'medians. Bands and brackets are 95% intervals of a percentile bootstrap '
    'that draws seeds anew (Agarwal et al. 2021, arXiv:2108.13264). Between '
    'the points of a seed its curve is taken as straight.'
  )
  end = f'\nTraining at the end: over the last {END:.0%} of the steps of a run.'
  return Section('Returns', text + bands * several + end, charts, [table])


def curve_of(run: Run, name: str) -> Curve | None:
  """The curve of a kind of returns, with evaluations from their own file."""
  if name in EVALUATED and name in run.evaluations.curves:
    return run.evaluations.curves[name]
  return run.log.curves.get(name)


def _charts(name: str, groups: Sequence[Group]) -> Iterator[Chart]:
  runs = [run for group in groups for run in group.runs]
  offered, title = axes.offered(runs), EVALUATED.get(name, 'Training')
  bands, single = [], []
  for group in groups:
    there = [run for run in group.runs if curve_of(run, name)]
    if len(there) > 1:
      bands += _bands(group.name, there, name, offered)
    for run in there:
      steps, values = curve_of(run, name).points(STRETCHES)
      x = axes.along(run, steps, offered)
      line = Series(group.name, x, values, seed=grouping.seed(run))
      single.append(line)
      bands += [line] if len(there) == 1 else []
  if bands:
    yield Chart(title, bands)
  if any(series.low is not None for series in bands):
    yield Chart(f'{title}, each run', single)


def _bands(
  label: str, runs: Sequence[Run], name: str, offered: Sequence[str]
) -> Iterator[Series]:
  grid, values = aligned([curve_of(run, name) for run in runs])
  # Of several runs, frames and hours are those of the longest.
  longest = max(runs, key=lambda run: run.log.last)
  x = axes.along(longest, grid, offered)
  middle = statistics.band(values, statistics.over_runs(MIDDLE))
  yield Series(label, x, middle.value, middle.low, middle.high)
  median = statistics.band(values, statistics.over_runs('median'))
  yield Series(label, x, median.value, mark='dashes')


def aligned(curves: Sequence[Curve]) -> Aligned:
  """Steps, (points,), and the values of curves at them, (curves, points).

  A curve that does not reach a point is NaN there.
  """
  points = [curve.points(POINTS) for curve in curves]
  grid = np.unique(np.concatenate([each.steps for each in points]))
  exact = all(curve.count <= POINTS for curve in curves)
  if exact and len(grid) <= POINTS:
    return grid, np.stack([_between(grid, *each) for each in points])
  edges = np.linspace(grid[0], grid[-1], BINS + 1)
  middles = (edges[1:] + edges[:-1]) / 2
  return middles, np.stack([_binned(edges, curve) for curve in curves])


def _between(
  grid: np.ndarray, steps: np.ndarray, values: np.ndarray
) -> np.ndarray:
  return np.interp(grid, steps, values, left=np.nan, right=np.nan)


def _binned(edges: np.ndarray, curve: Curve) -> np.ndarray:
  (steps, values), counts = curve.means(STRETCHES)
  bins = np.clip(np.searchsorted(edges, steps, 'right') - 1, 0, BINS - 1)
  sums = np.bincount(bins, counts * values, BINS)
  number = np.bincount(bins, counts, BINS)
  (there,) = np.nonzero(number)
  return _between(np.arange(BINS), there, sums[there] / number[there])


def _rows(name: str, groups: Sequence[Group]) -> Iterator[list[str]]:
  last: Callable[[Curve], float] = last_of
  if name == TRAINING:
    last = mean_of_end
  for group in groups:
    curves = [curve for run in group.runs if (curve := curve_of(run, name))]
    if not curves:
      continue
    ends = np.array([last(curve) for curve in curves])
    row = [EVALUATED.get(name, 'Training'), group.name, str(len(curves))]
    for aggregate in ('mean', 'median', MIDDLE):
      over = statistics.over_runs(aggregate)
      value, low, high = np.ravel(statistics.band(ends[:, None], over))
      between = '' if np.isnan(low) else f' [{low:.4g}, {high:.4g}]'
      row.append(f'{value:.4g}{between}')
    yield row


def last_of(curve: Curve) -> float:
  """The last value of a curve."""
  return float(curve.points(8).values[-1])


def mean_of_end(curve: Curve) -> float:
  """The mean of a curve over the last of its steps."""
  (steps, values), counts = curve.means(STRETCHES)
  late = steps >= (1 - END) * steps[-1]
  return float(np.average(values[late], weights=counts[late]))
