"""Sections of all that is logged, with a chart for each metric."""

import re
from collections.abc import Iterator, Sequence

from dreamer_nnx.report import axes, groups
from dreamer_nnx.report.groups import Group
from dreamer_nnx.report.sections import Chart, Section, Series

# The first pattern that a name begins with decides.
SECTIONS = (
  ('Latents', r'train/loss/(dyn|rep)$|train/(dyn|rep)_ent$'),
  ('Losses', r'train/loss/|train/opt/loss$'),
  ('Gradients and parameters', r'train/opt/'),
  (
    'Policy and value',
    r'train/(ent|rand)/|train/(ret|adv|rew|con|val|slowval|tar|weight)(_|$)',
  ),
  ('Losses without learning', r'report/'),
  ('Episodes', r'episode/|crafter/'),
  ('Replay', r'replay/'),
  ('Speed', r'rate/|time/|acting/|env/|offline/'),
  ('Other metrics', r''),
)
TEXTS = {
  'Latents': 'Divergences of prior and posterior, which count as free below '
  'config.dynamics.*.free_nats, and the entropies of both.',
  'Losses': 'Each before it is scaled, in nats; train/opt/loss is their sum '
  'with their scales.',
  'Losses without learning': 'Of the last batch, computed for a report.',
  'Gradients and parameters': 'Norms and root mean squares; grad_norm is that '
  'before clipping.',
}
# Drawn elsewhere, or the axis of all.
ELSEWHERE = re.compile(r'frames$|eval(_sampled)?/|episode/return$')
LOGARITHMIC = re.compile(r'train/opt/(grad|update|param)_(norm|rms)$')
CHARTS = 150
# Points of all curves together, and of one of them.
POINTS, FEWEST, MOST = 60_000, 16, 512


def sections(found: Sequence[Group]) -> Iterator[Section]:
  """All metrics but the returns, in sections; those without any are absent."""
  runs = [run for group in found for run in group.runs]
  every = sorted({name for run in runs for name in run.log.curves})
  names = [name for name in every if not ELSEWHERE.match(name)]
  shown, left = names[:CHARTS], names[CHARTS:]
  limit = points_of_each(len(shown) * len(runs))
  offered = axes.offered(runs)
  for title, pattern in SECTIONS:
    mine = [name for name in shown if re.match(pattern, name)]
    shown = [name for name in shown if name not in mine]
    text = TEXTS.get(title, '')
    if title == SECTIONS[-1][0] and left:
      text = f'{len(left)} more metrics are in the logs, without a chart here.'
    charts = [chart(name, found, offered, limit) for name in mine]
    if charts or (title == SECTIONS[-1][0] and left):
      yield Section(title, text, charts)


def points_of_each(curves: int) -> int:
  """Number of points that a curve may have, among so many."""
  return max(FEWEST, min(MOST, POINTS // max(curves, 1)))


def thinning(found: Sequence[Group]) -> str:
  """Says what is left out of long curves; empty if all points are drawn."""
  runs = [run for group in found for run in group.runs]
  counts = {
    name: max(
      run.log.curves[name].count for run in runs if name in run.log.curves
    )
    for name in {name for run in runs for name in run.log.curves}
  }
  limit = points_of_each(min(len(counts), CHARTS) * len(runs))
  if max(counts.values(), default=0) <= limit:
    return ''
  name = max(sorted(counts), key=counts.__getitem__)
  return (
    f'Long curves are thinned to at most {limit} points: of each stretch the '
    'first, the lowest, the highest and the last point are drawn. The longest, '
    f'{name}, has {counts[name]:,} points.'
  )


def chart(
  name: str, found: Sequence[Group], offered: Sequence[str], limit: int
) -> Chart:
  """The curves of a metric, of all runs that have it."""
  series, positive = [], True
  for group in found:
    for run in group.runs:
      if name in run.log.curves:
        steps, values = run.log.curves[name].points(limit)
        x = axes.along(run, steps, offered)
        positive &= bool((values > 0).all())
        series.append(Series(group.name, x, values, seed=groups.seed(run)))
  return Chart(name, series, log=positive and bool(LOGARITHMIC.match(name)))
