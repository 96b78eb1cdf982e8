"""Dicts of vectors, discrete or continuous, as one flat array."""

import math
from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp

from dreamer_nnx import spaces
from dreamer_nnx.spacetypes import Space


def concat(feat: Mapping[str, jax.Array], order: Iterable[str]) -> jax.Array:
  """Concatenates features (..., n), in the order of these names."""
  return jnp.concatenate([feat[name] for name in order], -1)


def unit(x: jax.Array, axis: int = -1) -> jax.Array:
  """Divides vectors along an axis by their lengths, in float32; 0 stays 0."""
  x = x.astype(jnp.float32)
  return x * jax.lax.rsqrt(jnp.square(x).sum(axis, keepdims=True) + 1e-12)


def vector_size(space: Mapping[str, Space]) -> int:
  """Counts the numbers that `concat_vectors` returns for each step."""
  return sum(
    sum(spaces.classes(s)) if spaces.is_discrete(s) else math.prod(s.shape)
    for s in space.values()
  )


def concat_vectors(
  space: Mapping[str, Space],
  values: Mapping[str, jax.Array],
  *,
  squash: Callable[[jax.Array], jax.Array] = lambda x: x,
  dtype: jnp.dtype,
) -> jax.Array:
  """Concatenates keys in sorted order: discrete one-hot, continuous squashed.

  A float of -inf or an integer of -1 marks a missing value: that key's whole
  vector is zero at that step.

  Args:
    space: Discrete, MultiDiscrete and float Box spaces.
    values: (..., *shape) for each key.
    squash: Applied to continuous values.
    dtype: Format of the result.

  Returns:
    (..., `vector_size(space)`).
  """
  parts = []
  for key in sorted(space):
    encode = _onehot if spaces.is_discrete(space[key]) else _squashed(squash)
    parts.append(encode(space[key], values[key]).astype(dtype))
  return jnp.concatenate(parts, -1)


def _onehot(space, x):
  classes = spaces.classes(space)
  # An unsigned number has no -1: compared as it is, 255 would be one.
  x = x.astype(jnp.int32)
  # (..., *shape) to (..., numbers), and one-hot to (..., Σ classes).
  x = x.reshape(*x.shape[: x.ndim - len(space.shape)], len(classes))
  present = (x != -1).all(-1, keepdims=True)
  x = jnp.concatenate(
    [jax.nn.one_hot(x[..., i], n) for i, n in enumerate(classes)], -1
  )
  return jnp.where(present, x, 0)


def _squashed(squash):
  def encode(space, x):
    # (..., *shape) to (..., numbers).
    x = x.reshape(*x.shape[: x.ndim - len(space.shape)], -1)
    present = (x != -jnp.inf).all(-1, keepdims=True)
    # Masked on both sides: an infinity times 0 would be NaN in the gradient.
    return jnp.where(present, squash(jnp.where(present, x, 0)), 0)

  return encode
