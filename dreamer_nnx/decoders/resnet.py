"""Residual CNN that draws images, MLP and heads for vectors."""

import functools
from collections.abc import Callable, Mapping
from typing import Annotated

import jax
from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.decoders.joined import JoinedDecoder
from dreamer_nnx.decoders.maps import minimal_map
from dreamer_nnx.decoders.rendering import image_outputs
from dreamer_nnx.nn.activations import Act
from dreamer_nnx.nn.conv import Conv
from dreamer_nnx.nn.forms import Portions
from dreamer_nnx.nn.images import check_halvings, minimal_sides
from dreamer_nnx.nn.initializers import Winit
from dreamer_nnx.nn.mlp import Layers, NormAct
from dreamer_nnx.nn.norm import Norm
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.residual import ResidualBlock
from dreamer_nnx.schema import Count, Range, Weight
from dreamer_nnx.sizes import DEPTH, UNITS, by_size
from dreamer_nnx.slots import DECODER
from dreamer_nnx.spacetypes import Space


@DECODER.register('resnet')
class ResNetDecoder(JoinedDecoder):
  """Predicts every key: the encoder `resnet`, the other way round.

  A stage is residual blocks x + conv(act(norm(conv(act(norm(x)))))), a doubling
  by repetition, and a convolution; before the last doubling comes act(norm(x)).

  Images of one size are the channels of one drawing, in sorted order of their
  keys. Those of another size have another CNN, from a minimal map of their own.

  Args:
    depth: Unit of the channels of the images: the stage of mult m has depth ·
      m.
    mults: Channels of the stages, in units of `depth`, last stage first; each
      stage doubles the image.
    blocks: Residual blocks of a stage.
    kernel: Side of the convolution kernels, in pixels.
    layers: Layers of the MLP of the vectors.
    units: Width of the MLP of the vectors; 2 * units also bring all features
      but `deter` to the minimal map of the images.
    act: Activation of all layers.
    norm: Normalisation over the last axis, before each activation.
    winit: Distribution of the initial kernels, and the fan (in, out, or the
      average of both) by whose root they are divided.
    outscale: Multiplies the initial kernels of the last layers; 0 begins at
      outputs of 0.
    symlog: Continuous vectors are predicted in symlog space.
    bspace: Groups of the block-linear map of the feature `deter` to the minimal
      map. With 0, or without a `deter` that splits into so many groups, it is
      one dense map of all features.

  Raises:
    UserError: An image does not come from a map of a whole 3..16 pixels a
      side, or its channels do not split into `bspace` groups.

  Source: the stages of Espeholt et al. 2018 (arXiv 1802.01561) reversed.
  """

  sizes = by_size(units=UNITS, depth=DEPTH)

  def __init__(
    self,
    obs_space: Mapping[str, Space],
    feat_space: Mapping[str, int],
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
    outscale: Weight = 1.0,
    symlog: bool = True,
    bspace: Annotated[int, Range(0)] = 8,
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
    super().__init__(
      obs_space,
      feat_space,
      images,
      layers=layers,
      symlog=symlog,
      bspace=bspace,
      units=units,
      act=act,
      norm=norm,
      winit=winit,
      outscale=outscale,
      precision=precision,
      rngs=rngs,
    )


class ResidualImages(nnx.Module):
  """Stages minimal map -> residual blocks -> doubling and conv.

  Args:
    depths: Channels of the stages, those of the minimal map last.
  """

  def __init__(
    self,
    obs_space,
    feat_space,
    depths,
    *,
    blocks,
    kernel,
    bspace,
    units,
    act,
    norm,
    winit,
    outscale,
    precision,
    rngs,
  ):
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    look = dict(act=act, norm=norm, **kw)
    height, width = minimal_sides(obs_space, len(depths))
    shape = (height, width, depths[-1])
    self.minimal = minimal_map(
      feat_space, shape, bspace=bspace, units=units, **look
    )
    self.channels = {k: s.shape[-1] for k, s in sorted(obs_space.items())}
    sizes = (*reversed(depths), sum(self.channels.values()))
    self.blocks, self.convs, numbers = nnx.List([]), nnx.List([]), []
    for i in range(len(depths)):
      stage = [ResidualBlock(sizes[i], kernel, **look) for _ in range(blocks)]
      scale = outscale if i == len(depths) - 1 else 1.0
      conv = Conv(sizes[i], sizes[i + 1], kernel, outscale=scale, **kw)
      numbers.append(conv.patch_numbers(height << i, width << i))
      self.blocks.append(nnx.List(stage))
      self.convs.append(conv)
    self.norm_act = NormAct(depths[0], norm=norm, act=act)
    self.portions = Portions(max(numbers), precision)

  def __call__(self, feat: contracts.Feat) -> dict[str, contracts.Output]:
    render, maps = self._renderer(), self.minimal(feat)
    return image_outputs(render, maps, self.channels, self.portions)

  def _renderer(self) -> Callable[[jax.Array], jax.Array]:
    """Makes a function: minimal maps (N, h, w, c) to means (N, H, W, C).

    What all images share of the work is done now, once.
    """
    *grows, out = [conv.upsampling() for conv in self.convs]
    stages = list(zip(self.blocks, (*grows, self.norm_act), strict=True))

    def render(x):
      for blocks, grow in stages:
        for block in blocks:
          x = block(x)
        x = grow(x)
      return jax.nn.sigmoid(out(x))

    return render
