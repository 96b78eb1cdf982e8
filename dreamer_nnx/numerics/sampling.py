"""The only two places where the algorithm draws random numbers."""

import chex
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
  chex.assert_axis_dimension_gteq(probs, -1, 1)
  cdf = jnp.cumsum(probs, -1)
  uniform = jax.random.uniform(key, (*probs.shape[:-1], 1))
  index = (cdf <= uniform * cdf[..., -1:]).sum(-1)
  return jnp.minimum(index, probs.shape[-1] - 1)


def normal(key: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
  """Draws mean + std ε with ε standard normal.

  Args:
    key: PRNG key.
    mean: (...,).
    std: (...,), or of fewer axes.

  Returns:
    (...,), in the format of `mean`.
  """
  chex.assert_is_broadcastable(jnp.shape(std), jnp.shape(mean))
  return mean + std * jax.random.normal(key, mean.shape, mean.dtype)
