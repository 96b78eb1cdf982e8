"""Normalisation over the last axis, computed in float32."""

from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import registry
from dreamer_nnx.schema import OneOf

EPS = 1e-4
AXES = ('features',)


class RMSNorm(nnx.Module):
  """RMS norm x / √(mean(x²) + ε) · scale."""

  def __init__(self, size: int):
    self.scale = nnx.Param(jnp.ones((size,)), axes=AXES)

  def __call__(self, x: jax.Array) -> jax.Array:
    y = x.astype(jnp.float32)
    mean_square = jnp.square(y).mean(-1, keepdims=True)
    y = y * (jax.lax.rsqrt(mean_square + EPS) * self.scale[...])
    return y.astype(x.dtype)


class LayerNorm(nnx.Module):
  """Layer norm (x - mean) / √(max(0, var) + ε) · scale + shift."""

  def __init__(self, size: int):
    self.scale = nnx.Param(jnp.ones((size,)), axes=AXES)
    self.shift = nnx.Param(jnp.zeros((size,)), axes=AXES)

  def __call__(self, x: jax.Array) -> jax.Array:
    y = x.astype(jnp.float32)
    mean = y.mean(-1, keepdims=True)
    variance = jnp.square(y).mean(-1, keepdims=True) - jnp.square(mean)
    inverse = jax.lax.rsqrt(jnp.maximum(0, variance) + EPS)
    y = (y - mean) * (inverse * self.scale[...]) + self.shift[...]
    return y.astype(x.dtype)


class Identity(nnx.Module):
  """No normalisation."""

  def __init__(self, size: int):
    del size

  def __call__(self, x: jax.Array) -> jax.Array:
    return x


NORMS = {'rms': RMSNorm, 'layer': LayerNorm, 'none': Identity}
Norm = Annotated[str, OneOf(*NORMS)]


def make_norm(name: str, size: int) -> nnx.Module:
  """Builds a norm; UserError with a suggestion where none has the name."""
  return registry.pick(NORMS, name, 'norm')(size)
