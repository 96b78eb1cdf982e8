"""CNN for images, MLP for vectors, over a dict of observations."""

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
from dreamer_nnx.schema import Count, Range
from dreamer_nnx.sizes import DEPTH, UNITS, by_size
from dreamer_nnx.slots import ENCODER
from dreamer_nnx.spacetypes import Space


@ENCODER.register('simple')
class SimpleEncoder(JoinedEncoder):
  """Concatenates the features of an MLP and of a CNN.

  Images of one size are stacked on the channels in sorted order of their keys.
  Those of another size have another CNN; features are joined in order of
  (height, width).

  Args:
    depth: Unit of the channels of the CNN: the stage of mult m has depth · m.
    mults: Channels of the stages, in units of `depth`; each stage halves the
      image.
    layers: Layers of the MLP of the vectors; 0 hands them on as they are.
    units: Width of the MLP of the vectors.
    act: Activation behind each norm.
    norm: Normalisation behind each linear map or convolution, over the last
      axis.
    winit: Distribution of the initial kernels, and the fan (in, out, or the
      average of both) by whose root they are divided.
    symlog: Squashes continuous vectors by symlog, sign(x) log(1 + |x|).
    outer: The first stage keeps the resolution.
    kernel: Side of the convolution kernels, in pixels.
    strided: Halves by a stride of 2 instead of a 2x2 maximum.

  Raises:
    UserError: An image does not shrink to a whole 3..16 pixels a side.

  Source: Hafner et al. 2023 (arXiv 2301.04104).
  """

  sizes = by_size(units=UNITS, depth=DEPTH)

  def __init__(
    self,
    obs_space: Mapping[str, Space],
    *,
    depth: Count = 32,
    mults: Annotated[tuple[int, ...], Range(1, length=1)] = (2, 3, 4, 4),
    layers: Layers = 3,
    units: Count = 512,
    act: Act = 'silu',
    norm: Norm = 'rms',
    winit: Winit = 'trunc_normal_in',
    symlog: bool = True,
    outer: bool = False,
    kernel: Count = 5,
    strided: bool = False,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    check_halvings(obs_space, len(mults), outer)
    images = functools.partial(
      ImageEncoder,
      depths=tuple(depth * mult for mult in mults),
      outer=outer,
      kernel=kernel,
      strided=strided,
    )
    kw = dict(act=act, norm=norm, winit=winit, precision=precision, rngs=rngs)
    super().__init__(
      obs_space, images, layers=layers, units=units, symlog=symlog, **kw
    )


class ImageEncoder(StackedImages):
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
    stages = range(len(depths))
    # Number of halvings of the image before each stage, and in the end.
    halved = [max(0, i - outer) for i in (*stages, len(depths))]
    height, width = image_sides(obs_space)
    sides = minimal_sides(obs_space, halved[-1])
    sizes = (channels(obs_space), *depths)
    halves = [halved[i] < halved[i + 1] for i in stages]
    self.pooled = tuple(half and not strided for half in halves)
    self.convs = nnx.List(
      [
        Conv(
          sizes[i],
          sizes[i + 1],
          kernel,
          stride=2 if strided and halves[i] else 1,
          winit=winit,
          precision=precision,
          rngs=rngs,
        )
        for i in stages
      ]
    )
    self.norm_acts = nnx.List([NormAct(d, norm=norm, act=act) for d in depths])
    patches = [
      self.convs[i].patch_numbers(height >> halved[i], width >> halved[i])
      for i in stages
    ]
    super().__init__(obs_space, max(patches), precision)
    self.output_size = sides[0] * sides[1] * depths[-1]

  def encoding(self, count: int) -> Callable[[jax.Array], jax.Array]:
    stages = [
      conv.pooling(count) if pooled else conv
      for conv, pooled in zip(self.convs, self.pooled, strict=True)
    ]

    def encode(x):
      for stage, norm_act in zip(stages, self.norm_acts, strict=True):
        x = norm_act(stage(x))
      # (N, h, w, c) to (N, E).
      return x.reshape(x.shape[0], -1)

    return encode
