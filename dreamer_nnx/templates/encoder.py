"""Encodes every observation by one MLP."""

import math

import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import spaces
from dreamer_nnx.nn.mlp import MLP
from dreamer_nnx.nn.vectors import concat_vectors, vector_size
from dreamer_nnx.schema import Count
from dreamer_nnx.slots import ENCODER

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@ENCODER.register('mine')
class Mine(nnx.Module):
  """Concatenates vectors and pixels for an MLP.

  Args:
    units: Numbers of each layer, and of the tokens.
  """

  def __init__(self, obs_space, *, units: Count = 64, precision, rngs):
    is_image = spaces.is_image
    self.images = {k: s for k, s in obs_space.items() if is_image(s)}
    self.vectors = {k: s for k, s in obs_space.items() if not is_image(s)}
    pixels = sum(math.prod(space.shape) for space in self.images.values())
    size = pixels + vector_size(self.vectors)
    self.mlp = MLP(size, layers=2, units=units, precision=precision, rngs=rngs)
    self.precision = precision
    self.token_size = self.mlp.output_size

  def __call__(self, obs):
    # uint8 (..., H, W, C) to floats (..., H W C).
    cast = lambda image: self.precision.cast(image) / 255 - 0.5
    parts = [
      cast(obs[key]).reshape(*obs[key].shape[:-3], -1) for key in self.images
    ]
    if self.vectors:
      dtype = self.precision.compute_dtype
      parts.append(concat_vectors(self.vectors, obs, dtype=dtype))
    return self.mlp(jnp.concatenate(parts, -1))
