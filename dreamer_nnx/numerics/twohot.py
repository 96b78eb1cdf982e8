"""Codes of a number as weights on bins: its two neighbours, or all near it."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

# Difference of two logits up to which the next term of the series, relative to
# the first, is below the rounding of float32: (d / 2)⁴ 2 / 15 < 1e-8.
NEAR = 0.03


def symexp_bins(count: int) -> np.ndarray:
  """Makes bins that are even in symlog space and exactly antisymmetric.

  Odd counts hold a bin at 0: symexp(linspace(-20, 0, (N-1)/2 + 1)) and its
  mirror image; even counts mirror symexp(linspace(-20, 0, N/2)).

  Args:
    count: N, at least 2.

  Returns:
    (N,) float32, ascending.

  Source: danijar/dreamerv3 `heads.py`.
  """
  if count < 2:
    raise ValueError(f'{count}: a two-hot code needs at least 2 bins.')
  odd = count % 2
  exponents = np.linspace(-20, 0, (count + odd) // 2, dtype=np.float32)
  half = -np.expm1(-exponents)
  return np.concatenate([half, -half[::-1][odd:]]).astype(np.float32)


def even_bins(count: int, limit: float) -> np.ndarray:
  """Makes bins that are even from -limit to limit and exactly antisymmetric.

  Args:
    count: N, at least 2.

  Returns:
    (N,) float32, ascending.
  """
  if count < 2:
    raise ValueError(f'{count}: a code needs at least 2 bins.')
  places = np.arange(1 - count, count, 2)
  return (places * (limit / (count - 1))).astype(np.float32)


def twohot(x: jax.Array, bins: np.ndarray) -> jax.Array:
  """Computes weights on the neighbour bins of x, by distance.

    wᵢ = min((x - bᵢ₋₁) / (bᵢ - bᵢ₋₁), (bᵢ₊₁ - x) / (bᵢ₊₁ - bᵢ)) in [0, 1],

  with x clipped to the bins.

  Elementwise, so that nothing is searched and a loss reads its logits once.

  Args:
    x: (...,) float32.
    bins: (N,) ascending; of two equal ones the first is for smaller x.

  Returns:
    (..., N) non-negative weights that sum to 1.
  """
  chex.assert_rank(bins, 1)
  bins = jnp.asarray(bins)
  gap = jnp.diff(bins)
  wide = jnp.where(gap > 0, gap, 1)
  # (...,) to (..., 1), beside the (N-1,) gaps.
  x = jnp.clip(x[..., None], bins[0], bins[-1])
  rising = jnp.where(gap > 0, (x - bins[:-1]) / wide, x >= bins[1:])
  falling = jnp.where(gap > 0, (bins[1:] - x) / wide, x < bins[:-1])
  ends = [(0, 0)] * (x.ndim - 1)
  rising = jnp.pad(rising, [*ends, (1, 0)], constant_values=1)
  falling = jnp.pad(falling, [*ends, (0, 1)], constant_values=1)
  return jnp.clip(jnp.minimum(rising, falling), 0, 1)


def histogram(x: jax.Array, bins: np.ndarray, sigma: float) -> jax.Array:
  """Computes the share of a normal around x that falls into each bin.

    wᵢ = (F(eᵢ₊₁) - F(eᵢ)) / (F(e_N) - F(e₀)),   F(e) = Φ((e - x) / s)

  with the edges e halfway between bins, and s = sigma · width. x is clipped to
  the outer edges.

  Args:
    x: (...,) float32.
    bins: (N,) middles, even and ascending.
    sigma: In widths of a bin.

  Returns:
    (..., N) non-negative weights that sum to 1.

  Source: Imani & White 2018 (arXiv 1806.04613).
  """
  chex.assert_rank(bins, 1)
  width = (bins[-1] - bins[0]) / (len(bins) - 1)
  edges = bins[0] + width * (np.arange(len(bins) + 1) - 0.5)
  edges = jnp.asarray(edges, jnp.float32)
  # (...,) to (..., 1), beside the (N+1,) edges.
  x = jnp.clip(x[..., None], edges[0], edges[-1])
  below = jax.scipy.stats.norm.cdf(edges, x, sigma * width)
  return jnp.diff(below) / (below[..., -1:] - below[..., :1])


def symmetric_mean(logits: jax.Array, bins: np.ndarray) -> jax.Array:
  """Computes Σᵢ pᵢ bᵢ over antisymmetric bins, p = softmax(l).

    Σ (p of bᵢ + p of -bᵢ) tanh(d / 2) bᵢ  for bᵢ > 0,  d = l of bᵢ - l of -bᵢ

  The first two factors are the difference of the pair's probabilities. Where
  |d| is below `NEAR`, tanh(d / 2) is d / 2 - d³ / 24, exactly 0 for equal
  logits; elsewhere the probabilities are subtracted. Subtracted everywhere, two
  that are nearly equal would lose all their digits, and two that are equal may
  differ by a rounding step, for an optimised program need not compute both in
  the same way: the largest bins, 5e8, would make predictions of that before
  anything is learnt.

  Args:
    logits: (..., N).
    bins: (N,), bin i the negative of bin N-1-i.
  """
  chex.assert_rank(bins, 1)
  chex.assert_axis_dimension(logits, -1, len(bins))
  half = len(bins) // 2
  # (..., N) to the lower and the upper (..., N // 2), the lower in turn.
  pair = lambda x: (x[..., :half][..., ::-1], x[..., -half:])
  (low, high), (few, many) = pair(logits), pair(jax.nn.softmax(logits, -1))
  d = high - low
  near = (few + many) * d * (0.5 - d * d / 24)
  apart = jnp.where(jnp.abs(d) < NEAR, near, many - few)
  return (apart * jnp.asarray(bins[-half:])).sum(-1)
