"""Numbers of learning curves."""

import numpy as np

from experiments.learning.results import Result

BINS = 20
# The part of a run, at its end, whose episodes count as final.
FINAL = 0.1
# One with more episodes, by which chance is told from a difference.
LATE = 0.2
# Environment steps after which both agents have compiled everything.
WARM = 1_000


def binned(result: Result, steps: int) -> np.ndarray:
  """Mean returns of the episodes that ended in each of BINS equal parts.

  A part in which none ended has the mean of the part before, and at the
  beginning of the one after.
  """
  ended, returns = map(np.array, result.episodes)
  index = np.minimum(ended * BINS // steps, BINS - 1)
  sums = np.bincount(index, returns, BINS)
  counts = np.bincount(index, minlength=BINS)
  there = np.flatnonzero(counts)
  before = np.searchsorted(there, np.arange(BINS), side='right') - 1
  chosen = there[np.maximum(before, 0)]
  return sums[chosen] / counts[chosen]


def final(result: Result, steps: int, part: float = FINAL) -> float:
  """Mean return of the episodes that ended in the last part of the steps."""
  pairs = zip(*result.episodes, strict=True)
  last = [value for step, value in pairs if step > (1 - part) * steps]
  return float(np.mean(last))


def area(result: Result, steps: int) -> float:
  """Area under the curve, divided by the steps: a mean over all of them."""
  return float(binned(result, steps).mean())


def training_seconds(result: Result) -> float:
  """Seconds of 1,000 steps, those before WARM and compiling left out."""
  marks = [x for x in result.events if 'seconds' in x and x['step'] >= WARM]
  first, last = marks[0], marks[-1]
  spent = last['seconds'] - first['seconds']
  return 1_000 * spent / (last['step'] - first['step'])


def last_evaluations(result: Result, count: int = 10) -> float:
  """Mean of the last greedy evaluations."""
  return float(np.mean([value for _, value in result.evaluations[-count:]]))
