"""Calibration of the value: what it predicts, beside what came of it."""

import dataclasses
from collections.abc import Sequence

import numpy as np

BINS = 10
# Bias that is said, as a share of the rewards that came: one of a value that
# is farther from 0 than it should be, and one of a value that is nearer to it,
# as each is that has not learnt all of the returns yet.
BEYOND, BEHIND = 0.5, 1.0
# Slopes of returns over values that are still well.
SLOPES = 0.5, 4.0


@dataclasses.dataclass(frozen=True)
class Episode:
  """One episode of the policy, T steps.

  Args:
    values: Predicted at each step, (T,).
    rewards: On entering each step, (T,).
    terminal: Whether it ended there, or else was cut off.
  """

  values: np.ndarray
  rewards: np.ndarray
  terminal: bool


@dataclasses.dataclass(frozen=True)
class Calibration:
  """Values beside the discounted returns that followed, (N,) each.

  Args:
    predicted, returns: Of all steps.
    earned: The part of the returns that came as rewards; the rest is the value
      of the last step, of an episode that was cut off.
    low, high, mean: By bins of predicted values: the quartiles of the returns,
      and their mean.
    centers: Mean predicted value of the bins.
  """

  predicted: np.ndarray
  returns: np.ndarray
  earned: np.ndarray
  centers: np.ndarray
  low: np.ndarray
  high: np.ndarray
  mean: np.ndarray

  @property
  def bias(self) -> float:
    """Mean of predicted less actual."""
    return float(np.mean(self.predicted - self.returns))

  @property
  def error(self) -> float:
    """Root mean square of their difference."""
    return float(np.sqrt(np.mean((self.predicted - self.returns) ** 2)))

  @property
  def slope(self) -> float:
    """Least-squares slope of returns over values; NaN if values are equal."""
    spread = np.var(self.predicted)
    if spread < 1e-12:
      return np.nan
    together = np.cov(self.predicted, self.returns, ddof=0)[0, 1]
    return float(together / spread)

  @property
  def warning(self) -> str:
    """Says what is wrong, in a sentence; empty if nothing is."""
    if not self.returns.size:
      return ''
    scale = float(np.sqrt(np.mean(self.earned**2))) or 1.0
    behind = self.bias * np.mean(self.earned) < 0
    if abs(self.bias) > (BEHIND if behind else BEYOND) * scale:
      word = 'too high' if self.bias > 0 else 'too low'
      return (
        f'The value is miscalibrated: on average it is {abs(self.bias):.3g} '
        f'{word}, where the rewards that followed are worth '
        f'{np.mean(self.earned):.3g}.'
      )
    # Of values that are nearly the same the slope is mostly noise.
    varied = np.std(self.predicted) > BEYOND * scale
    if varied and not SLOPES[0] <= self.slope <= SLOPES[1]:
      return (
        'The value is miscalibrated: where it is higher by 1, returns are '
        f'higher by {self.slope:.2g}.'
      )
    return ''


def calibration(
  episodes: Sequence[Episode], discount: float, bins: int = BINS
) -> Calibration:
  """Compares values with the returns of episodes of the same policy.

    R_t = r_{t+1} + γ R_{t+1};  at the end R_T = 0, or v_T if it was cut off

  Args:
    discount: γ of a step.
  """
  values = [x.values[:-1] for x in episodes]
  ends = [0.0 if x.terminal else x.values[-1] for x in episodes]
  pairs = list(zip(episodes, ends, strict=True))
  returns = [_discounted(x.rewards, discount, end)[:-1] for x, end in pairs]
  earned = [_discounted(x.rewards, discount, 0.0)[:-1] for x in episodes]
  predicted = np.concatenate([np.zeros(0), *values])
  actual = np.concatenate([np.zeros(0), *returns])
  came = np.concatenate([np.zeros(0), *earned])
  order = np.argsort(predicted, kind='stable')
  parts = [x for x in np.array_split(order, bins) if x.size]
  of_parts = lambda function: np.array([function(actual[x]) for x in parts])
  return Calibration(
    predicted,
    actual,
    came,
    np.array([predicted[x].mean() for x in parts]),
    of_parts(lambda x: np.quantile(x, 0.25)),
    of_parts(lambda x: np.quantile(x, 0.75)),
    of_parts(np.mean),
  )


def _discounted(rewards: np.ndarray, discount: float, end: float) -> np.ndarray:
  """Returns R_t of all steps (T,), of which the last one is `end`."""
  rewards = np.asarray(rewards, np.float64)
  found = np.full(len(rewards), float(end))
  for t in range(len(rewards) - 2, -1, -1):
    found[t] = rewards[t + 1] + discount * found[t + 1]
  return found
