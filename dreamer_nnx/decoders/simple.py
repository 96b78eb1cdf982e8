"""Transposed CNN for images, MLP and heads for vectors."""

import math
from collections.abc import Callable, Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts, spaces
from dreamer_nnx.decoders.rendering import image_outputs
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.activations import Act
from dreamer_nnx.nn.conv import Conv
from dreamer_nnx.nn.forms import Portions
from dreamer_nnx.nn.images import image_sides, minimal_sides
from dreamer_nnx.nn.initializers import Winit
from dreamer_nnx.nn.linear import BlockLinear, Linear
from dreamer_nnx.nn.mlp import MLP, Dense, Layers, NormAct
from dreamer_nnx.nn.norm import Norm
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.vectors import concat
from dreamer_nnx.registry import Choice
from dreamer_nnx.schema import Count, Range, Weight
from dreamer_nnx.sizes import DEPTH, UNITS, by_size
from dreamer_nnx.slots import DECODER, HEAD
from dreamer_nnx.spacetypes import Space


@DECODER.register('simple')
class SimpleDecoder(nnx.Module):
  """Predicts every observation key.

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
    UserError: An image does not come from a map of 3..16 pixels a side, or
      its channels do not split into `bspace` groups.
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
    images = {k: s for k, s in obs_space.items() if spaces.is_image(s)}
    self.notes: tuple[str, ...] = ()
    vectors = {k: s for k, s in obs_space.items() if k not in images}
    kw = dict(
      act=act,
      norm=norm,
      winit=winit,
      outscale=outscale,
      units=units,
      precision=precision,
      rngs=rngs,
    )
    self.vectors, self.images = nnx.data(None), nnx.data(None)
    if vectors:
      self.vectors = VectorDecoder(
        vectors, feat_space, layers=layers, symlog=symlog, **kw
      )
    if images and bspace and not groups(feat_space, bspace):
      self.notes = (
        'The minimal map of the images is dense: there is no feature `deter` '
        f'beside another one that splits into bspace = {bspace} groups.',
      )
    if images:
      depths = tuple(depth * mult for mult in mults)
      self.images = ImageDecoder(
        images,
        feat_space,
        depths,
        outer=outer,
        kernel=kernel,
        bspace=bspace,
        strided=strided,
        **kw,
      )

  def __call__(self, feat: contracts.Feat) -> dict[str, contracts.Output]:
    recons = {}
    for part in (self.vectors, self.images):
      if part:
        recons.update(part(feat))
    return recons


def reading_order(feat_space: Mapping[str, int]) -> tuple[str, ...]:
  """Orders features as kernels read them: `deter` comes last."""
  return tuple(sorted(feat_space, key=lambda name: name == 'deter'))


def groups(feat_space: Mapping[str, int], bspace: int) -> bool:
  """Tells whether the minimal map of images is block-linear."""
  return bool(bspace and len(feat_space) > 1) and (
    'deter' in feat_space and feat_space['deter'] % bspace == 0
  )


class VectorDecoder(nnx.Module):
  """One MLP, then a head for each vector key."""

  def __init__(
    self,
    obs_space,
    feat_space,
    *,
    layers,
    units,
    act,
    norm,
    winit,
    outscale,
    symlog,
    precision,
    rngs,
  ):
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    self.order = reading_order(feat_space)
    inputs = sum(feat_space.values())
    self.mlp = MLP(inputs, layers=layers, units=units, act=act, norm=norm, **kw)
    self.precision = precision
    continuous = 'symlog_mse' if symlog else 'mse'
    self.heads = nnx.data(
      {
        key: Choice(
          HEAD,
          'categorical' if spaces.is_discrete(space) else continuous,
          outscale=outscale,
          winit=winit,
        )(
          input_size=self.mlp.output_size,
          space=space,
          precision=precision,
          rngs=rngs,
        )
        for key, space in sorted(obs_space.items())
      }
    )

  def __call__(self, feat: contracts.Feat) -> dict[str, contracts.Output]:
    x = self.mlp(concat(feat, self.order))
    return {key: head(x) for key, head in self.heads.items()}


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
    sides = minimal_sides(image_sides(obs_space), len(depths) - int(outer))
    make_map = GroupedMap if groups(feat_space, bspace) else DenseMap
    self.minimal = make_map(
      feat_space,
      (*sides, depths[-1]),
      blocks=bspace,
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


class GroupedMap(nnx.Module):
  """Map act(norm(blocklinear(deter) + linear(dense(stoch)))) as (h, w, c).

  The block-linear output is read as (group, h, w, channel) and its groups are
  laid side by side on the channels.
  """

  def __init__(
    self,
    feat_space,
    shape,
    *,
    blocks,
    units,
    act,
    norm,
    winit,
    precision,
    rngs,
  ):
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    if shape[-1] % blocks:
      what = f'must divide depth * mults[-1] = {shape[-1]}.'
      raise UserError(what, 'bspace', blocks)
    size = math.prod(shape)
    self.rest = tuple(name for name in feat_space if name != 'deter')
    inputs = sum(feat_space[name] for name in self.rest)
    self.deter = BlockLinear(feat_space['deter'], size, blocks, **kw)
    self.hidden = Dense(inputs, 2 * units, act=act, norm=norm, **kw)
    self.stoch = Linear(2 * units, size, **kw)
    self.norm_act = NormAct(shape[-1], norm=norm, act=act)
    self.shape, self.blocks, self.precision = shape, blocks, precision

  def __call__(self, feat: contracts.Feat) -> jax.Array:
    height, width, channels = self.shape
    x0 = self.deter(self.precision.cast(feat['deter']))
    batch = x0.shape[:-1]
    # (..., size) to (..., G, h, w, c/G), to (..., h, w, G, c/G), to (..., c).
    x0 = x0.reshape(*batch, self.blocks, height, width, -1)
    x0 = jnp.moveaxis(x0, -4, -2).reshape(*batch, height, width, channels)
    x1 = self.stoch(self.hidden(concat(feat, self.rest)))
    # x1 (..., size) to (..., h, w, c).
    return self.norm_act(x0 + x1.reshape(x0.shape))


class DenseMap(nnx.Module):
  """Map act(norm(linear(features))) as (h, w, c)."""

  def __init__(
    self,
    feat_space,
    shape,
    *,
    blocks,
    units,
    act,
    norm,
    winit,
    precision,
    rngs,
  ):
    del blocks, units
    self.order = reading_order(feat_space)
    inputs = sum(feat_space.values())
    self.linear = Linear(
      inputs, math.prod(shape), winit=winit, precision=precision, rngs=rngs
    )
    self.norm_act = NormAct(shape[-1], norm=norm, act=act)
    self.shape, self.precision = shape, precision

  def __call__(self, feat: contracts.Feat) -> jax.Array:
    x = self.linear(concat(feat, self.order))
    # (..., size) to (..., h, w, c).
    return self.norm_act(x.reshape(*x.shape[:-1], *self.shape))
