"""CNN for images, MLP for vectors, over a dict of observations."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from gymnasium import spaces as gym_spaces

from dreamer_nnx import contracts, spaces
from dreamer_nnx.nn.conv import Conv
from dreamer_nnx.nn.images import image_sides, minimal_sides
from dreamer_nnx.nn.mlp import MLP, NormAct
from dreamer_nnx.nn.portions import in_portions, portion
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.vectors import concat_vectors, vector_size
from dreamer_nnx.numerics.squash import symlog as symlog_fn
from dreamer_nnx.slots import ENCODER


@ENCODER.register('simple')
class SimpleEncoder(nnx.Module):
  """Concatenates the features of an MLP and of a CNN.

  Args:
    depth: Channels of the first stage are depth * mults[0].
    mults: One convolution stage each, which halves the image.
    layers, units: The MLP of the vectors.
    act, norm, winit: See `nn`.
    symlog: Squashes continuous vectors.
    outer: The first stage keeps the resolution.
    kernel: Side of the convolution kernels.
    strided: Halves by a stride of 2 instead of a 2x2 maximum.

  Raises:
    ValueError: An image does not shrink to 3..16 pixels a side.
  """

  def __init__(
    self,
    obs_space: Mapping[str, gym_spaces.Space],
    *,
    depth: int = 32,
    mults: tuple[int, ...] = (2, 3, 4, 4),
    layers: int = 3,
    units: int = 512,
    act: str = 'silu',
    norm: str = 'rms',
    winit: str = 'trunc_normal_in',
    symlog: bool = True,
    outer: bool = False,
    kernel: int = 5,
    strided: bool = False,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    images = {k: s for k, s in obs_space.items() if spaces.is_image(s)}
    vectors = {k: s for k, s in obs_space.items() if k not in images}
    kw = dict(act=act, norm=norm, winit=winit, precision=precision, rngs=rngs)
    self.token_size = 0
    self.vectors, self.images = nnx.data(None), nnx.data(None)
    if vectors:
      self.vectors = VectorEncoder(
        vectors, layers=layers, units=units, symlog=symlog, **kw
      )
      self.token_size += self.vectors.output_size
    if images:
      depths = tuple(depth * mult for mult in mults)
      self.images = ImageEncoder(
        images, depths, outer=outer, kernel=kernel, strided=strided, **kw
      )
      self.token_size += self.images.output_size

  def __call__(self, obs: contracts.Observation) -> jax.Array:
    parts = [part(obs) for part in (self.vectors, self.images) if part]
    return jnp.concatenate(parts, -1)


class VectorEncoder(nnx.Module):
  """MLP of all vector keys in sorted order."""

  def __init__(
    self, obs_space, *, layers, units, symlog, precision, rngs, **kw
  ):
    self.space = dict(obs_space)
    self.squash = symlog_fn if symlog else lambda x: x
    self.precision = precision
    self.mlp = MLP(
      vector_size(obs_space),
      layers=layers,
      units=units,
      precision=precision,
      rngs=rngs,
      **kw,
    )
    self.output_size = self.mlp.output_size

  def __call__(self, obs: contracts.Observation) -> jax.Array:
    dtype = self.precision.compute_dtype
    x = concat_vectors(self.space, obs, squash=self.squash, dtype=dtype)
    return self.mlp(x)


class ImageEncoder(nnx.Module):
  """Stages of conv -> 2x2 maximum -> norm -> act over stacked image keys."""

  def __init__(
    self,
    obs_space,
    depths,
    *,
    outer,
    kernel,
    strided,
    act,
    norm,
    winit,
    precision,
    rngs,
  ):
    self.keys = tuple(sorted(obs_space))
    self.precision = precision
    height, width = image_sides(obs_space)
    halvings = len(depths) - int(outer)
    sides = minimal_sides((height, width), halvings)
    channels = sum(obs_space[k].shape[-1] for k in self.keys)
    sizes = (channels, *depths)
    self.halved = tuple(not (outer and i == 0) for i in range(len(depths)))
    self.pooled = tuple(halved and not strided for halved in self.halved)
    self.convs = nnx.List(
      [
        Conv(
          sizes[i],
          sizes[i + 1],
          kernel,
          stride=2 if strided and self.halved[i] else 1,
          winit=winit,
          precision=precision,
          rngs=rngs,
        )
        for i in range(len(depths))
      ]
    )
    self.finish = nnx.List([NormAct(d, norm=norm, act=act) for d in depths])
    self.output_size = sides[0] * sides[1] * depths[-1]

  def __call__(self, obs: contracts.Observation) -> jax.Array:
    images = jnp.concatenate([obs[k] for k in self.keys], -1)
    rows = images.reshape(-1, *images.shape[-3:])
    encode = self._encoding(len(rows))
    if self.precision.on_cpu:
      size = portion(len(rows), self._patch_numbers(*rows.shape[1:3]))
      tokens = in_portions(encode, size, rows)
    else:
      tokens = encode(rows)
    return tokens.reshape(*images.shape[:-3], -1)

  def _encoding(self, count: int) -> Callable[[jax.Array], jax.Array]:
    """Images (N, H, W, C) to features (N, ...), as a function.

    What all images share of the work is done now, once.
    """
    stages = [
      conv.pooling(count) if pooled else conv
      for conv, pooled in zip(self.convs, self.pooled, strict=True)
    ]

    def encode(x):
      x = self.precision.cast(x) / 255 - 0.5
      for stage, finish in zip(stages, self.finish, strict=True):
        x = finish(stage(x))
      return x.reshape(len(x), -1)

    return encode

  def _patch_numbers(self, height: int, width: int) -> int:
    """Numbers that the patches of an image hold in the largest stage."""
    numbers = []
    for conv, halved in zip(self.convs, self.halved, strict=True):
      numbers.append(conv.patch_numbers(height, width))
      if halved:
        height, width = height // 2, width // 2
    return max(numbers)
