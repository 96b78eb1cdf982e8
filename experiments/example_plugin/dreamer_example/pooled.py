"""An encoder of coarse images: means of blocks of pixels, and an MLP."""

import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import spaces
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.mlp import MLP
from dreamer_nnx.nn.vectors import concat_vectors, vector_size
from dreamer_nnx.schema import Count
from dreamer_nnx.slots import ENCODER


@ENCODER.register('pooled')
class PooledEncoder(nnx.Module):
  """Concatenates vectors and block means of images for an MLP.

  Args:
    blocks: Blocks along each side of an image.
    layers: Layers of the MLP.
    units: Width of the MLP, and numbers of a token.

  Raises:
    UserError: The blocks do not divide a side.
  """

  def __init__(
    self,
    obs_space,
    *,
    blocks: Count = 4,
    layers: Count = 2,
    units: Count = 64,
    precision,
    rngs,
  ):
    is_image = spaces.is_image
    self.images = {k: s for k, s in obs_space.items() if is_image(s)}
    self.vectors = {k: s for k, s in obs_space.items() if not is_image(s)}
    size = vector_size(self.vectors)
    for key, space in self.images.items():
      height, width, channels = space.shape
      if height % blocks or width % blocks:
        what = f'must divide the sides of {key!r}, {height} and {width}.'
        raise UserError(what, 'blocks', blocks)
      size += blocks * blocks * channels
    self.mlp = MLP(
      size, layers=layers, units=units, precision=precision, rngs=rngs
    )
    self.blocks, self.precision, self.token_size = blocks, precision, units

  def __call__(self, obs):
    parts = [self._pooled(obs[key]) for key in self.images]
    if self.vectors:
      dtype = self.precision.compute_dtype
      parts.append(concat_vectors(self.vectors, obs, dtype=dtype))
    return self.mlp(jnp.concatenate(parts, -1))

  def _pooled(self, image):
    *lead, height, width, channels = image.shape
    count = self.blocks
    # (..., H, W, C) to (..., G, H/G, G, W/G, C), and means (..., G, G, C).
    grid = (count, height // count, count, width // count, channels)
    x = self.precision.cast(image).reshape(*lead, *grid) / 255 - 0.5
    return x.mean((-4, -2)).reshape(*lead, -1)
