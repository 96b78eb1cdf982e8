"""Maps of features to the minimal map that images are drawn from."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.linear import BlockLinear, Linear
from dreamer_nnx.nn.mlp import Dense, NormAct
from dreamer_nnx.nn.vectors import concat


def reading_order(feat_space: Mapping[str, int]) -> tuple[str, ...]:
  """Orders features as kernels read them: `deter` comes last."""
  return tuple(sorted(feat_space, key=lambda name: name == 'deter'))


def groups(feat_space: Mapping[str, int], bspace: int) -> bool:
  """Tells whether the minimal map of images is block-linear."""
  return bool(bspace and len(feat_space) > 1) and (
    'deter' in feat_space and feat_space['deter'] % bspace == 0
  )


def minimal_map(
  feat_space: Mapping[str, int], shape: tuple[int, ...], *, bspace: int, **kw
) -> nnx.Module:
  """Builds a map of features (..., n) to (..., h, w, c).

  Args:
    shape: (h, w, c).
    bspace: Groups of `deter`, if it is to be block-linear.
    kw: units, act, norm, winit, precision, rngs.
  """
  make = GroupedMap if groups(feat_space, bspace) else DenseMap
  return make(feat_space, shape, blocks=bspace, **kw)


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
