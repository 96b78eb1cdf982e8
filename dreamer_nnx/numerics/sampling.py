"""The only two places where the algorithm draws random numbers."""

import jax
import jax.numpy as jnp


def categorical(key: jax.Array, probs: jax.Array) -> jax.Array:
  """Draws class indices by inverting the cumulative distribution.

  One uniform number a draw, where the Gumbel trick takes one a class.

  Args:
    key: PRNG key.
    probs: (..., C), need not be normalised.

  Returns:
    (...,) int32 in [0, C).
  """
  cdf = jnp.cumsum(probs, -1)
  uniform = jax.random.uniform(key, (*probs.shape[:-1], 1))
  index = (cdf <= uniform * cdf[..., -1:]).sum(-1)
  return jnp.minimum(index, probs.shape[-1] - 1)


def normal(key: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
  """mean + std ε with ε standard normal; the shape of `mean`."""
  return mean + std * jax.random.normal(key, mean.shape, mean.dtype)
