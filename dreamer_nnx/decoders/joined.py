"""An MLP and heads for the vectors beside a network for the images."""

import functools
from collections.abc import Callable, Mapping
from typing import Protocol

from flax import nnx

from dreamer_nnx import contracts, spaces
from dreamer_nnx.decoders.maps import groups, reading_order
from dreamer_nnx.nn.images import by_sides, shown
from dreamer_nnx.nn.mlp import MLP
from dreamer_nnx.nn.vectors import concat
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import HEAD
from dreamer_nnx.spacetypes import Space


class Part(Protocol):
  """Decoder of some of the keys."""

  def __call__(self, feat: contracts.Feat) -> dict[str, contracts.Output]: ...


class JoinedDecoder(nnx.Module):
  """Predicts vectors by an MLP with heads, and images by a part of their own.

  Either is built only if there are keys for it. Images of different sizes
  have a part for each size, see `BySize`. `notes` says it if the images cannot
  begin with a block-linear map.

  Args:
    images: Builds a part, of the spaces of image keys of one size and
      `feat_space`, and by keyword of bspace, units, act, norm, winit, outscale,
      precision and rngs.
    layers: Of the MLP of the vectors.
    symlog: Continuous vectors are predicted in symlog space.
    bspace: Groups of the feature `deter`, see `maps.minimal_map`.
  """

  def __init__(
    self,
    obs_space: Mapping[str, Space],
    feat_space: Mapping[str, int],
    images: Callable[..., Part],
    *,
    layers: int,
    symlog: bool,
    bspace: int,
    **kw,
  ):
    pixels = {k: s for k, s in obs_space.items() if spaces.is_image(s)}
    vectors = {k: s for k, s in obs_space.items() if k not in pixels}
    self.notes: tuple[str, ...] = ()
    self.vectors, self.images = nnx.data(None), nnx.data(None)
    if vectors:
      self.vectors = VectorDecoder(
        vectors, feat_space, layers=layers, symlog=symlog, **kw
      )
    if pixels and bspace and not groups(feat_space, bspace):
      self.notes = (
        'The minimal map of the images is dense: there is no feature `deter` '
        f'beside another one that splits into bspace = {bspace} groups.',
      )
    if pixels:
      one = len(by_sides(pixels)) == 1
      build = images if one else functools.partial(BySize, images)
      self.images = build(pixels, feat_space, bspace=bspace, **kw)

  def __call__(self, feat: contracts.Feat) -> dict[str, contracts.Output]:
    recons = {}
    for part in (self.vectors, self.images):
      if part:
        recons.update(part(feat))
    return recons


class BySize(nnx.Module):
  """Predicts images by parts, one for those of each size.

  Under names such as `64x96`, which images of one size alone do without.

  Args:
    images: As of `JoinedDecoder`.
  """

  def __init__(self, images: Callable[..., Part], obs_space, feat_space, **kw):
    self.sizes = nnx.data(
      {
        shown(sides): images(keys, feat_space, **kw)
        for sides, keys in by_sides(obs_space).items()
      }
    )

  def __call__(self, feat: contracts.Feat) -> dict[str, contracts.Output]:
    parts = self.sizes.values()
    return {key: x for part in parts for key, x in part(feat).items()}


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
