"""Transposed CNN for images, MLP and heads for vectors."""

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
from dreamer_nnx.schema import Count, Range, Weight
from dreamer_nnx.sizes import DEPTH, UNITS, by_size
from dreamer_nnx.slots import DECODER
from dreamer_nnx.spacetypes import Space


@DECODER.register('simple')
class SimpleDecoder(JoinedDecoder):
  """Predicts every observation key.

  Images of one size are the channels of one drawing, in sorted order of their
  keys. Those of another size have another CNN, from a minimal map of their own.

  Args:
    depth: Unit of the channels of the images: the stage of mult m has depth ·
      m.
    mults: Channels of the stages, in units of `depth`, last stage first; each
      stage doubles the image.
    layers: Layers of the MLP of the vectors.
    units: Width of the MLP of the vectors; 2 units also bring all features but
      `deter` to the minimal map of the images.
    act: Activation behind each norm.
    norm: Normalisation behind each linear map or convolution, over the last
      axis.
    winit: Distribution of the initial kernels, and the fan (in, out, or the
      average of both) by whose root they are divided.
    outscale: Multiplies the initial kernels of the last layers; 0 begins at
      outputs of 0.
    symlog: Continuous vectors are predicted in symlog space.
    outer: The last stage keeps the resolution.
    kernel: Side of the convolution kernels, in pixels.
    bspace: Groups of the block-linear map of the feature `deter` to the minimal
      map. With 0, or without a `deter` that splits into so many groups, it is
      one dense map of all features.
    strided: Fractionally strided convolutions instead of repeat and conv.

  Raises:
    UserError: An image does not come from a map of a whole 3..16 pixels a
      side, or its channels do not split into `bspace` groups.

  Source: Hafner et al. 2023 (arXiv 2301.04104).
  """

  sizes = by_size(units=UNITS, depth=DEPTH)

  def __init__(
    self,
    obs_space: Mapping[str, Space],
    feat_space: Mapping[str, int],
    *,
    depth: Count = 32,
    mults: Annotated[tuple[int, ...], Range(1, length=1)] = (2, 3, 4, 4),
    layers: Layers = 3,
    units: Count = 512,
    act: Act = 'silu',
    norm: Norm = 'rms',
    winit: Winit = 'trunc_normal_in',
    outscale: Weight = 1.0,
    symlog: bool = True,
    outer: bool = False,
    kernel: Count = 5,
    bspace: Annotated[int, Range(0)] = 8,
    strided: bool = False,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    check_halvings(obs_space, len(mults), outer)
    images = functools.partial(
      ImageDecoder,
      depths=tuple(depth * mult for mult in mults),
      outer=outer,
      kernel=kernel,
      strided=strided,
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


class ImageDecoder(nnx.Module):
  """Stages features -> minimal map -> doublings -> means of all image keys."""

  def __init__(
    self,
    obs_space,
    feat_space,
    depths,
    *,
    units,
    act,
    norm,
    winit,
    outscale,
    outer,
    kernel,
    bspace,
    strided,
    precision,
    rngs,
  ):
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    sides = minimal_sides(obs_space, len(depths) - outer)
    self.minimal = minimal_map(
      feat_space,
      (*sides, depths[-1]),
      bspace=bspace,
      units=units,
      act=act,
      norm=norm,
      **kw,
    )
    self.channels = {k: s.shape[-1] for k, s in sorted(obs_space.items())}
    stages = tuple(reversed(depths))
    self.convs = nnx.List(
      [
        Conv(stages[i], stages[i + 1], kernel, **kw)
        for i in range(len(stages) - 1)
      ]
    )
    self.norm_acts = nnx.List(
      [NormAct(d, norm=norm, act=act) for d in stages[1:]]
    )
    self.out = Conv(
      depths[0], sum(self.channels.values()), kernel, outscale=outscale, **kw
    )
    self.outer, self.strided = outer, strided
    patches = [
      conv.patch_numbers(sides[0] << i, sides[1] << i)
      for i, conv in enumerate((*self.convs, self.out))
    ]
    self.portions = Portions(max(patches), precision)

  def __call__(self, feat: contracts.Feat) -> dict[str, contracts.Output]:
    render, maps = self._renderer(), self.minimal(feat)
    return image_outputs(render, maps, self.channels, self.portions)

  def _renderer(self) -> Callable[[jax.Array], jax.Array]:
    """Makes a function: minimal maps (N, h, w, c) to means (N, H, W, C).

    What all images share of the work is done now, once.
    """
    grow = lambda conv: conv.transposed if self.strided else conv.upsampling()
    stages = [grow(conv) for conv in self.convs]
    out = self.out if self.outer else grow(self.out)

    def render(x):
      for stage, norm_act in zip(stages, self.norm_acts, strict=True):
        x = norm_act(stage(x))
      return jax.nn.sigmoid(out(x))

    return render
