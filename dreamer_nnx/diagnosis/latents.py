"""Use of the latent codes, and the KL between posterior and prior.

Letters: B sequences, T steps, S variables, C codes of each.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

# A variable with fewer codes in use, e to the entropy, says nothing: one in a
# hundred draws is even, by `unimix`, which is up to 1.11 codes of 128.
CONSTANT = 1.15
# Share of the variables that may be constant.
MOST = 0.9
# Nats that the codes of a step tell, below which they are noise.
LEAST = 0.05


@dataclasses.dataclass(frozen=True)
class Latents:
  """Use of the codes.

  Args:
    used: Codes in use of each variable, (S,): e to the entropy of how often
      each one occurs. Empty where the dynamics store no codes.
    codes: C, or the most that was seen.
    told: Nats of a step that its codes tell: the entropy of codes over all
      steps, summed over variables, less the mean entropy of the posterior. NaN
      where that is not known.
    kl: Mean `dyn` by step, (T,), at least the free nats; empty without it.
  """

  used: np.ndarray
  codes: int
  told: float
  kl: np.ndarray

  @property
  def constant(self) -> float:
    """Share of the variables that always have the same code."""
    return float(np.mean(self.used < CONSTANT)) if self.used.size else 0.0

  @property
  def warning(self) -> str:
    """Says what is wrong, in a sentence; empty if nothing is."""
    if self.used.size and self.constant >= MOST:
      return (
        f'The latent codes have collapsed: {self.constant:.0%} of '
        f'{self.used.size} variables always have the same code.'
      )
    if self.used.size and self.told < LEAST:
      return (
        'The latent codes have collapsed: they are drawn alike at all steps, '
        f'and tell {max(self.told, 0):.2f} nats of what was observed.'
      )
    return ''


def summary(
  entries: Mapping[str, np.ndarray],
  losses: Mapping[str, np.ndarray],
  metrics: Mapping[str, float],
) -> Latents:
  """Sums up what was stored of the steps of some batches.

  Args:
    entries: (B, T, ...), of which those of whole numbers (B, T, S) are codes.
    losses: (B, T) by name.
    metrics: With `rep_ent`, the mean entropy of the posterior in nats.
  """
  kl = np.asarray(losses['dyn'], np.float64).mean(0) if 'dyn' in losses else []
  codes = [
    x.reshape(-1, x.shape[-1])
    for x in map(np.asarray, entries.values())
    if x.dtype.kind in 'iu' and x.ndim == 3
  ]
  if not codes:
    return Latents(np.zeros(0), 0, np.nan, np.asarray(kl))
  # (N, S) of all kinds of codes.
  rows = np.concatenate(codes, 1)
  entropies = np.array([_entropy(column) for column in rows.T])
  told = float(entropies.sum() - metrics.get('rep_ent', np.nan))
  most = int(rows.max()) + 1
  return Latents(np.exp(entropies), most, told, np.asarray(kl))


def _entropy(column: np.ndarray) -> float:
  """Entropy in nats of how often each code occurs in (N,)."""
  shares = np.bincount(column) / column.size
  shares = shares[shares > 0]
  return float(-(shares * np.log(shares)).sum())
