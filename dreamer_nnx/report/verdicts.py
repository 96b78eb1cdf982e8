"""Sentences on what is wrong with a run, from its log."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from dreamer_nnx.report.runs import Run

DIVERGED, REWINDS = 'diverged/update', 'diverged/rewinds'
LOSS, KL, ENTROPY = 'train/opt/loss', 'train/loss/dyn', 'train/rep_ent'
NORM = 'train/opt/grad_norm'
# What is judged is the last part of a curve, and compared with the rest.
END, STRETCHES, ENOUGH = 0.1, 512, 5
# A loss has diverged when it is so many times as large as it was.
FACTOR = 30.0
# KL within this factor of its free bits, entropy from this share of the
# highest on: the latents tell nothing of what is observed.
FREE, UNIFORM = 1.02, 0.95
TOLD = 5


def warnings(run: Run) -> list[str]:
  """All that is to be said at the head of the page."""
  return [sentence for judge in JUDGES for sentence in judge(run)]


def diverged(run: Run) -> Iterator[str]:
  """Tells of updates that were not finite, as the run itself logged them."""
  for step, name, value in run.log.told[-TOLD:]:
    if name == DIVERGED:
      yield (
        f'The loss diverged at update {value:,.0f}: numbers were not finite, '
        f'found at environment step {step:,}.'
      )
    if name == REWINDS:
      yield f'It went back to a checkpoint; {value:,.0f} times until then.'


def not_finite(run: Run) -> Iterator[str]:
  """Tells of metrics that were not finite, the first ones by name."""
  found = sorted(run.log.spoilt.items(), key=lambda item: item[1].step)
  for name, (lines, step) in found[:TOLD]:
    yield f'{name} was not finite on {lines:,} lines, first at step {step:,}.'
  if len(found) > TOLD:
    yield f'{len(found) - TOLD} more metrics were not finite.'


def growing(run: Run) -> Iterator[str]:
  """Tells of losses and gradients that ended far above what they were."""
  for name in sorted(run.log.curves):
    if name.startswith('train/loss/') or name in (LOSS, NORM):
      before, after = _parts(run, name)
      if after > FACTOR * before > 0:
        yield (
          f'{name} diverges: it ended at a magnitude of {after:.3g}, '
          f'after {before:.3g} before.'
        )


def collapsed(run: Run) -> Iterator[str]:
  """Tells of latents from which nothing can be told."""
  free, highest = _free_nats(run), highest_entropy(run)
  if free is None or highest is None:
    return
  _, kl = _parts(run, KL)
  _, entropy = _parts(run, ENTROPY)
  if kl <= FREE * free and entropy >= UNIFORM * highest:
    yield (
      f'The latents look collapsed: the KL is at its free bits ({kl:.3g} nats) '
      f'and the entropy of the posterior near its maximum ({entropy:.3g} of '
      f'{highest:.3g} nats).'
    )


def notes(run: Run) -> Iterator[str]:
  """Tells of what is to be known, and is nothing wrong: an early end."""
  steps = run.config.get('train.steps')
  if type(steps) is int and 0 < run.log.last < steps:
    yield f'It has made {run.log.last:,} of {steps:,} environment steps.'


JUDGES: tuple[Callable[[Run], Iterator[str]], ...] = (
  diverged,
  not_finite,
  growing,
  collapsed,
  lambda run: iter(run.problems),
)


def highest_entropy(run: Run) -> float | None:
  """Entropy of categorical latents that are drawn evenly, in nats."""
  where = f'{_dynamics(run)}.stochastic.categorical'
  sizes = [run.config.get(f'{where}.{x}') for x in ('stoch', 'classes')]
  if not all(type(size) is int and 1 < size < 1e6 for size in sizes):
    return None
  return sizes[0] * math.log(sizes[1])


def _free_nats(run: Run) -> float | None:
  value = run.config.get(f'{_dynamics(run)}.free_nats')
  return float(value) if isinstance(value, int | float) else None


def _dynamics(run: Run) -> str:
  return f'dynamics.{run.config.get("dynamics.name")}'


def _parts(run: Run, name: str) -> tuple[float, float]:
  """Medians of the magnitude before the end, and at the end; NaN if short."""
  if name not in run.log.curves:
    return math.nan, math.nan
  values = np.abs(run.log.curves[name].means(STRETCHES)[0].values)
  if len(values) < ENOUGH:
    return math.nan, math.nan
  end = max(1, round(END * len(values)))
  return float(np.median(values[:-end])), float(np.median(values[-end:]))
