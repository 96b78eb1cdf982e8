"""Vision transformer for images, MLP for vectors."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx.encoders.joined import JoinedEncoder, StackedImages, channels
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.activations import Act
from dreamer_nnx.nn.attention import Block, Steps
from dreamer_nnx.nn.images import check_patch, image_sides
from dreamer_nnx.nn.initializers import Winit
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.mlp import Layers
from dreamer_nnx.nn.norm import Norm, make_norm
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.schema import Count
from dreamer_nnx.sizes import DEPTH, UNITS, by_size
from dreamer_nnx.slots import ENCODER
from dreamer_nnx.spacetypes import Space

# Standard deviation of the positions at first.
POSITION = 0.02


@ENCODER.register('vit')
class ViTEncoder(JoinedEncoder):
  """Concatenates the features of an MLP and of a vision transformer.

  Every patch of the image becomes a vector of `units` numbers, to which a
  learned one for its position is added. Blocks of attention among all patches,
  of one image, and two dense layers follow. In the end each patch is mapped to
  `depth` numbers, and those of all patches are the features, side by side: so
  it stays known what is where, which a mean over the patches would lose.

  Images of one size are stacked on the channels in sorted order of their keys.
  Those of another size have another transformer; features are joined in order
  of (height, width).

  Args:
    patch: Side of a patch in pixels; divides the height and width of images.
    depth: Features of a patch in the end.
    blocks: Number of blocks of the transformer.
    heads: Heads of its attention; divides `units`.
    layers: Layers of the MLP of the vectors; 0 hands them on as they are.
    units: Width of the transformer, and of the MLP of the vectors.
    act: Activation of all layers.
    norm: Normalisation, in the transformer of what enters its layers.
    winit: Distribution of the initial kernels, and the fan (in, out, or the
      average of both) by whose root they are divided.
    symlog: Squashes continuous vectors by symlog, sign(x) log(1 + |x|).

  Raises:
    UserError: The patch does not divide the images, or `heads` the `units`.

  Source: Dosovitskiy et al. 2021 (arXiv 2010.11929), without a class token.
  """

  sizes = by_size(units=UNITS, depth=DEPTH)

  def __init__(
    self,
    obs_space: Mapping[str, Space],
    *,
    patch: Count = 8,
    depth: Count = 32,
    blocks: Count = 3,
    heads: Count = 4,
    layers: Layers = 3,
    units: Count = 512,
    act: Act = 'silu',
    norm: Norm = 'rms',
    winit: Winit = 'trunc_normal_in',
    symlog: bool = True,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    check_patch(obs_space, patch)
    images = functools.partial(
      PatchEncoder,
      patch=patch,
      depth=depth,
      blocks=blocks,
      heads=heads,
      units=units,
    )
    kw = dict(act=act, norm=norm, winit=winit, precision=precision, rngs=rngs)
    super().__init__(
      obs_space, images, layers=layers, units=units, symlog=symlog, **kw
    )


class PatchEncoder(StackedImages):
  """Transformer over the P patches of stacked image keys."""

  def __init__(
    self,
    obs_space,
    *,
    patch,
    depth,
    blocks,
    heads,
    units,
    act,
    norm,
    winit,
    precision,
    rngs,
  ):
    if units % heads:
      what = f'must be a multiple of heads, which is {heads}.'
      raise UserError(what, 'units', units)
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    height, width = image_sides(obs_space)
    count = (height // patch) * (width // patch)
    self.embed = Linear(patch * patch * channels(obs_space), units, **kw)
    draw = jax.random.normal(rngs.params(), (count, units))
    positions = (POSITION * draw).astype(precision.param_dtype)
    self.positions = nnx.Param(positions, axes=('patches', 'features'))
    self.blocks = nnx.List(
      [
        Block(units, heads, heads, 0, act=act, norm=norm, **kw)
        for _ in range(blocks)
      ]
    )
    self.norm = make_norm(norm, units)
    self.out = Linear(units, depth, **kw)
    self.patch, self.output_size = patch, count * depth
    # The widest layer of a block, and the weights of its attention.
    numbers = count * max(4 * units, heads * count)
    super().__init__(obs_space, numbers, precision)

  def encoding(self, count: int) -> Callable[[jax.Array], jax.Array]:
    del count

    def encode(x):
      x = self.embed(patches(x, self.patch))
      x = x + self.positions[...].astype(x.dtype)
      for block in self.blocks:
        queries, keys, values = block.project(x)
        x = block(x, queries, [Steps(keys, values)])
      x = self.out(self.norm(x))
      # (N, P, depth) to (N, E).
      return x.reshape(x.shape[0], -1)

    return encode


def patches(images: jax.Array, size: int) -> jax.Array:
  """Cuts images (N, H, W, C) into patches (N, P, size·size·C), row by row."""
  n, height, width, c = images.shape
  x = images.reshape(n, height // size, size, width // size, size, c)
  # (N, h, size, w, size, C) to (N, h, w, size, size, C).
  x = jnp.moveaxis(x, 3, 2)
  return x.reshape(n, -1, size * size * c)
