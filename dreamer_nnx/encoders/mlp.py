"""One MLP of everything, pixels too."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.encoders.joined import by_kind, pixels, squashing
from dreamer_nnx.nn.activations import Act
from dreamer_nnx.nn.initializers import Winit
from dreamer_nnx.nn.mlp import MLP, Layers
from dreamer_nnx.nn.norm import Norm
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.vectors import concat_vectors, vector_size
from dreamer_nnx.schema import Count
from dreamer_nnx.sizes import UNITS, by_size
from dreamer_nnx.slots import ENCODER
from dreamer_nnx.spacetypes import Space


@ENCODER.register('mlp')
class MLPEncoder(nnx.Module):
  """Passes all vectors, then all images as flat x / 255 - 1/2, through an MLP.

  Either are in sorted order of their keys. Images may differ in size.

  Args:
    layers: Number of layers; 0 hands everything on as it is.
    units: Width of all layers.
    act: Activation of all layers.
    norm: Normalisation over the last axis, before each activation.
    winit: Distribution of the initial kernels, and the fan (in, out, or the
      average of both) by whose root they are divided.
    symlog: Squashes continuous vectors by symlog, sign(x) log(1 + |x|).

  Source: the MLP of Hafner et al. 2023 (arXiv 2301.04104), for pixels too.
  """

  sizes = by_size(units=UNITS)

  def __init__(
    self,
    obs_space: Mapping[str, Space],
    *,
    layers: Layers = 3,
    units: Count = 512,
    act: Act = 'silu',
    norm: Norm = 'rms',
    winit: Winit = 'trunc_normal_in',
    symlog: bool = True,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    images, self.vectors = by_kind(obs_space)
    self.images = tuple(sorted(images))
    self.squash, self.precision = squashing(symlog), precision
    inputs = sum(math.prod(space.shape) for space in images.values())
    self.mlp = MLP(
      inputs + vector_size(self.vectors),
      layers=layers,
      units=units,
      act=act,
      norm=norm,
      winit=winit,
      precision=precision,
      rngs=rngs,
    )
    self.token_size = self.mlp.output_size

  def __call__(self, obs: contracts.Observation) -> jax.Array:
    parts = []
    if self.vectors:
      dtype = self.precision.compute_dtype
      parts.append(
        concat_vectors(self.vectors, obs, squash=self.squash, dtype=dtype)
      )
    for key in self.images:
      x = pixels(obs[key], self.precision)
      # (..., H, W, C) to (..., H·W·C).
      parts.append(x.reshape(*x.shape[:-3], -1))
    return self.mlp(jnp.concatenate(parts, -1))
