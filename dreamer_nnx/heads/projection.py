"""The linear map at the end of a head."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.signatures import takes


class Projection(nnx.Module):
  """A linear map to float32 arrays of one event shape."""

  @takes(Linear)
  def __init__(self, input_size: int, shape: tuple[int, ...], **linear):
    self.shape = tuple(shape)
    self.linear = Linear(input_size, math.prod(shape), **linear)

  def __call__(self, x: jax.Array) -> jax.Array:
    y = self.linear(x).astype(jnp.float32)
    # (..., prod(shape)) to (..., *shape).
    return y.reshape(*x.shape[:-1], *self.shape)
