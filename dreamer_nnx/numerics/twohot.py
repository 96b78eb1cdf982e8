"""Two-hot codes: a number as weights on its two neighbour bins."""

import jax
import jax.numpy as jnp
import numpy as np


def symexp_bins(count: int) -> np.ndarray:
  """Bins that are even in symlog space and exactly antisymmetric.

  Odd counts hold a bin at 0: symexp(linspace(-20, 0, (N-1)/2 + 1)) and its
  mirror image; even counts mirror symexp(linspace(-20, 0, N/2)).

  Args:
    count: N, at least 2.

  Returns:
    (N,) float32, ascending.

  Source: danijar/dreamerv3 `heads.py`.
  """
  if count < 2:
    raise ValueError(f'bins = {count}: a two-hot code needs at least 2 bins.')
  odd = count % 2
  exponents = np.linspace(-20, 0, (count + odd) // 2, dtype=np.float32)
  half = -np.expm1(-exponents)
  return np.concatenate([half, -half[::-1][odd:]]).astype(np.float32)


def twohot(x: jax.Array, bins: np.ndarray) -> jax.Array:
  """Weights on the neighbour bins of x, by distance; clipped at the ends.

  Args:
    x: (...,) float32.
    bins: (N,) ascending.

  Returns:
    (..., N) non-negative weights that sum to 1.
  """
  bins = jnp.asarray(bins)
  last = len(bins) - 1
  x = x[..., None]
  below = jnp.clip((bins <= x).sum(-1) - 1, 0, last)
  above = jnp.clip(last + 1 - (bins > x).sum(-1), 0, last)
  to_below = jnp.abs(bins[below] - x[..., 0])
  to_above = jnp.abs(bins[above] - x[..., 0])
  same = below == above
  to_below, to_above = (jnp.where(same, 1, d) for d in (to_below, to_above))
  total = to_below + to_above
  return (
    jax.nn.one_hot(below, last + 1) * (to_above / total)[..., None]
    + jax.nn.one_hot(above, last + 1) * (to_below / total)[..., None]
  )


def symmetric_mean(probs: jax.Array, bins: np.ndarray) -> jax.Array:
  """Σᵢ pᵢ bᵢ over antisymmetric bins, as Σ (p of bᵢ - p of -bᵢ) bᵢ for bᵢ > 0.

  Paired so, uniform probabilities give exactly 0; summed from left to right,
  or multiplied before they are paired, the rounding of the large bins would be
  left over.

  Args:
    probs: (..., N).
    bins: (N,), bin i the negative of bin N-1-i.
  """
  half = bins.shape[-1] // 2
  low, high = probs[..., :half], probs[..., -half:]
  return ((high - low[..., ::-1]) * jnp.asarray(bins[-half:])).sum(-1)
