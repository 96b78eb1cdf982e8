"""Residual CNN for images, MLP for vectors."""

import functools
from collections.abc import Callable, Mapping
from typing import Annotated

import jax
from flax import nnx

from dreamer_nnx.encoders.joined import JoinedEncoder, StackedImages, channels
from dreamer_nnx.nn.activations import Act
from dreamer_nnx.nn.conv import Conv
from dreamer_nnx.nn.images import check_halvings, image_sides, minimal_sides
from dreamer_nnx.nn.initializers import Winit
from dreamer_nnx.nn.mlp import Layers, NormAct
from dreamer_nnx.nn.norm import Norm
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.residual import ResidualBlock
from dreamer_nnx.schema import Count, Range
from dreamer_nnx.sizes import DEPTH, UNITS, by_size
from dreamer_nnx.slots import ENCODER
from dreamer_nnx.spacetypes import Space


@ENCODER.register('resnet')
class ResNetEncoder(JoinedEncoder):
  """Concatenates the features of an MLP and of a residual CNN.

  A stage is a convolution, the maximum of 2x2 windows, and residual blocks
  x + conv(act(norm(conv(act(norm(x)))))). After the last comes act(norm(x)).

  Images of one size are stacked on the channels in sorted order of their keys.
  Those of another size have another such CNN; features are joined in order of
  (height, width).

  Args:
    depth: Unit of the channels of the CNN: the stage of mult m has depth · m.
    mults: Channels of the stages, in units of `depth`; each stage halves the
      image.
    blocks: Residual blocks of a stage.
    kernel: Side of the convolution kernels, in pixels.
    layers: Layers of the MLP of the vectors; 0 hands them on as they are.
    units: Width of the MLP of the vectors.
    act: Activation of all layers.
    norm: Normalisation over the last axis, before each activation.
    winit: Distribution of the initial kernels, and the fan (in, out, or the
      average of both) by whose root they are divided.
    symlog: Squashes continuous vectors by symlog, sign(x) log(1 + |x|).

  Raises:
    UserError: An image does not shrink to a whole 3..16 pixels a side.

  Source: Espeholt et al. 2018 (arXiv 1802.01561), with norms.
  """

  sizes = by_size(units=UNITS, depth=DEPTH)

  def __init__(
    self,
    obs_space: Mapping[str, Space],
    *,
    depth: Count = 32,
    mults: Annotated[tuple[int, ...], Range(1, length=1)] = (2, 3, 4, 4),
    blocks: Count = 2,
    kernel: Count = 3,
    layers: Layers = 3,
    units: Count = 512,
    act: Act = 'silu',
    norm: Norm = 'rms',
    winit: Winit = 'trunc_normal_in',
    symlog: bool = True,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    check_halvings(obs_space, len(mults))
    images = functools.partial(
      ResidualImages,
      depths=tuple(depth * mult for mult in mults),
      blocks=blocks,
      kernel=kernel,
    )
    kw = dict(act=act, norm=norm, winit=winit, precision=precision, rngs=rngs)
    super().__init__(
      obs_space, images, layers=layers, units=units, symlog=symlog, **kw
    )


class ResidualImages(StackedImages):
  """Stages of conv -> 2x2 maximum -> residual blocks; then norm -> act.

  Args:
    depths: Channels of the stages.
  """

  def __init__(
    self,
    obs_space,
    depths,
    *,
    blocks,
    kernel,
    act,
    norm,
    winit,
    precision,
    rngs,
  ):
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    height, width = image_sides(obs_space)
    sides = minimal_sides(obs_space, len(depths))
    sizes = (channels(obs_space), *depths)
    self.convs, self.blocks, numbers = nnx.List([]), nnx.List([]), []
    for i, depth in enumerate(depths):
      conv = Conv(sizes[i], depth, kernel, **kw)
      stage = [
        ResidualBlock(depth, kernel, act=act, norm=norm, **kw)
        for _ in range(blocks)
      ]
      numbers.append(conv.patch_numbers(height >> i, width >> i))
      halved = height >> i + 1, width >> i + 1
      numbers.append(stage[0].patch_numbers(*halved))
      self.convs.append(conv)
      self.blocks.append(nnx.List(stage))
    self.norm_act = NormAct(depths[-1], norm=norm, act=act)
    super().__init__(obs_space, max(numbers), precision)
    self.output_size = sides[0] * sides[1] * depths[-1]

  def encoding(self, count: int) -> Callable[[jax.Array], jax.Array]:
    convs = [conv.pooling(count) for conv in self.convs]

    def encode(x):
      for conv, blocks in zip(convs, self.blocks, strict=True):
        x = conv(x)
        for block in blocks:
          x = block(x)
      x = self.norm_act(x)
      # (N, h, w, c) to (N, E).
      return x.reshape(x.shape[0], -1)

    return encode
