"""Heads over real numbers."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from gymnasium import spaces as gym_spaces

from dreamer_nnx import spaces
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.numerics import outputs
from dreamer_nnx.numerics.squash import symlog
from dreamer_nnx.numerics.twohot import symexp_bins
from dreamer_nnx.slots import HEAD


class Shaped(nnx.Module):
  """A linear map to float32 arrays of one event shape."""

  def __init__(
    self,
    input_size: int,
    shape: tuple[int, ...],
    *,
    outscale: float,
    winit: str,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    self.shape = tuple(shape)
    self.linear = Linear(
      input_size,
      math.prod(shape),
      winit=winit,
      outscale=outscale,
      precision=precision,
      rngs=rngs,
    )

  def __call__(self, x: jax.Array) -> jax.Array:
    y = self.linear(x).astype(jnp.float32)
    return y.reshape(*x.shape[:-1], *self.shape)


def continuous_shape(name: str, space: gym_spaces.Space) -> tuple[int, ...]:
  """The shape of a Box; ValueError for a discrete space."""
  if spaces.is_discrete(space):
    raise UserError(f'head {name}: needs a continuous space, got {space}.')
  return space.shape


class Regression(nnx.Module):
  """A mean, and an output made of it.

  Args:
    output: From a mean to a distribution.
  """

  def __init__(
    self,
    input_size: int,
    space: gym_spaces.Space,
    *,
    name: str,
    output: Callable[[jax.Array], object],
    outscale: float,
    winit: str,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    shape = continuous_shape(name, space)
    self.output = output
    self.mean = Shaped(
      input_size,
      shape,
      outscale=outscale,
      winit=winit,
      precision=precision,
      rngs=rngs,
    )

  def __call__(self, x: jax.Array) -> object:
    return outputs.event(self.output(self.mean(x)), len(self.mean.shape))


@HEAD.register('mse')
def mse(
  input_size: int,
  space: gym_spaces.Space,
  *,
  outscale: float = 1.0,
  winit: str = 'trunc_normal_in',
  precision: Precision,
  rngs: nnx.Rngs,
) -> Regression:
  """Squared error."""
  return Regression(
    input_size,
    space,
    name='mse',
    output=outputs.MSE,
    outscale=outscale,
    winit=winit,
    precision=precision,
    rngs=rngs,
  )


@HEAD.register('symlog_mse')
def symlog_mse(
  input_size: int,
  space: gym_spaces.Space,
  *,
  outscale: float = 1.0,
  winit: str = 'trunc_normal_in',
  precision: Precision,
  rngs: nnx.Rngs,
) -> Regression:
  """Squared error to the symlog of the target; `pred` is in symlog space."""
  output = functools.partial(outputs.MSE, squash=symlog)
  return Regression(
    input_size,
    space,
    name='symlog_mse',
    output=output,
    outscale=outscale,
    winit=winit,
    precision=precision,
    rngs=rngs,
  )


@HEAD.register('huber')
def huber(
  input_size: int,
  space: gym_spaces.Space,
  *,
  eps: float = 1.0,
  outscale: float = 1.0,
  winit: str = 'trunc_normal_in',
  precision: Precision,
  rngs: nnx.Rngs,
) -> Regression:
  """Charbonnier loss; quadratic within `eps`, linear beyond."""
  output = functools.partial(outputs.Huber, eps=eps)
  return Regression(
    input_size,
    space,
    name='huber',
    output=output,
    outscale=outscale,
    winit=winit,
    precision=precision,
    rngs=rngs,
  )


@HEAD.register('symexp_twohot')
class SymexpTwoHot(nnx.Module):
  """Categorical over `bins` exponentially spaced numbers."""

  def __init__(
    self,
    input_size: int,
    space: gym_spaces.Space,
    *,
    bins: int = 255,
    outscale: float = 1.0,
    winit: str = 'trunc_normal_in',
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    shape = continuous_shape('symexp_twohot', space)
    self.bins = bins
    self.rank = len(shape)
    self.logits = Shaped(
      input_size,
      (*shape, bins),
      outscale=outscale,
      winit=winit,
      precision=precision,
      rngs=rngs,
    )

  def __call__(self, x: jax.Array) -> object:
    return outputs.event(
      outputs.TwoHot(self.logits(x), symexp_bins(self.bins)), self.rank
    )


@HEAD.register('bounded_normal')
class BoundedNormal(nnx.Module):
  """Normal with mean tanh(m) and std in [minstd, maxstd].

  std = (maxstd - minstd) sigmoid(s + 2) + minstd
  """

  def __init__(
    self,
    input_size: int,
    space: gym_spaces.Space,
    *,
    minstd: float = 0.1,
    maxstd: float = 1.0,
    outscale: float = 1.0,
    winit: str = 'trunc_normal_in',
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    shape = continuous_shape('bounded_normal', space)
    kw = dict(outscale=outscale, winit=winit, precision=precision, rngs=rngs)
    self.mean = Shaped(input_size, shape, **kw)
    self.std = Shaped(input_size, shape, **kw)
    self.std_range = (minstd, maxstd)

  def __call__(self, x: jax.Array) -> object:
    low, high = self.std_range
    std = (high - low) * jax.nn.sigmoid(self.std(x) + 2.0) + low
    output = outputs.Normal(jnp.tanh(self.mean(x)), std, self.std_range)
    return outputs.event(output, len(self.mean.shape))


@HEAD.register('normal_logstd')
class NormalLogStd(nnx.Module):
  """Normal with free mean and std = exp(s)."""

  def __init__(
    self,
    input_size: int,
    space: gym_spaces.Space,
    *,
    outscale: float = 1.0,
    winit: str = 'trunc_normal_in',
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    shape = continuous_shape('normal_logstd', space)
    kw = dict(outscale=outscale, winit=winit, precision=precision, rngs=rngs)
    self.mean = Shaped(input_size, shape, **kw)
    self.std = Shaped(input_size, shape, **kw)

  def __call__(self, x: jax.Array) -> object:
    output = outputs.Normal(self.mean(x), jnp.exp(self.std(x)))
    return outputs.event(output, len(self.mean.shape))
