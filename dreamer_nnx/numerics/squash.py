"""Symmetric logarithm and its inverse."""

import jax
import jax.numpy as jnp


def symlog(x: jax.Array) -> jax.Array:
  """Computes sign(x) log(1 + |x|): x near 0, a logarithm far from it."""
  return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def symexp(x: jax.Array) -> jax.Array:
  """Computes sign(x) (exp|x| - 1), the inverse of `symlog`."""
  return jnp.sign(x) * jnp.expm1(jnp.abs(x))
