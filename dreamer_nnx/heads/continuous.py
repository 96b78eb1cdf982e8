"""Heads over real numbers."""

import functools
from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import spaces
from dreamer_nnx.errors import UserError
from dreamer_nnx.heads.projection import Projection
from dreamer_nnx.numerics import outputs
from dreamer_nnx.numerics.squash import symexp, symlog
from dreamer_nnx.schema import Epsilon, Range
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import HEAD
from dreamer_nnx.spacetypes import Space

# The square of a smaller one is 0 in float32.
Root = Annotated[float, Range(1e-18)]


def continuous_shape(space: Space) -> tuple[int, ...]:
  """Returns the shape of a Box; UserError for a discrete space."""
  if spaces.is_discrete(space):
    raise UserError(f'needs a continuous space, got {space}.')
  return space.shape


class Regression(nnx.Module):
  """A mean, and an output made of it.

  Args:
    output: Makes a distribution of a mean.
  """

  @takes(Projection)
  def __init__(
    self,
    input_size: int,
    space: Space,
    output: Callable[[jax.Array], object],
    **projection,
  ):
    self.output = output
    self.mean = Projection(input_size, continuous_shape(space), **projection)

  def __call__(self, x: jax.Array) -> object:
    return outputs.event(self.output(self.mean(x)), len(self.mean.shape))


@HEAD.register('mse')
@takes(Projection)
def mse(input_size: int, space: Space, **projection) -> Regression:
  """Squared error.

  Source: Hafner et al. 2019 (arXiv 1811.04551).
  """
  return Regression(input_size, space, outputs.MSE, **projection)


@HEAD.register('symlog_mse')
@takes(Projection)
def symlog_mse(input_size: int, space: Space, **projection) -> Regression:
  """Squared error to the symlog of the target; `pred` is in symlog space.

  Source: Hafner et al. 2025 (arXiv 2301.04104).
  """
  output = functools.partial(outputs.MSE, squash=symlog, unsquash=symexp)
  return Regression(input_size, space, output, **projection)


@HEAD.register('huber')
@takes(Projection)
def huber(
  input_size: int, space: Space, *, eps: Root = 1.0, **projection
) -> Regression:
  """Charbonnier loss √(d² + eps²) - eps of the distance d.

  Args:
    eps: Distance within which it is about quadratic; linear beyond.

  Source: Barron 2019 (arXiv 1701.03077).
  """
  output = functools.partial(outputs.Huber, eps=eps)
  return Regression(input_size, space, output, **projection)


@HEAD.register('bounded_normal')
class BoundedNormal(nnx.Module):
  """Normal with mean tanh(m) and std in [minstd, maxstd].

  std = (maxstd - minstd) sigmoid(s + 2) + minstd

  Args:
    minstd: Lower bound of the standard deviation.
    maxstd: Upper bound of the standard deviation.

  Source: Hafner et al. 2025 (arXiv 2301.04104).
  """

  @takes(Projection)
  def __init__(
    self,
    input_size: int,
    space: Space,
    *,
    minstd: Epsilon = 0.1,
    maxstd: Epsilon = 1.0,
    **projection,
  ):
    if minstd > maxstd:
      what = f'must be at most maxstd, which is {maxstd}.'
      raise UserError(what, 'minstd', minstd)
    shape = continuous_shape(space)
    self.mean = Projection(input_size, shape, **projection)
    self.std = Projection(input_size, shape, **projection)
    self.std_range = (minstd, maxstd)

  def __call__(self, x: jax.Array) -> object:
    low, high = self.std_range
    std = (high - low) * jax.nn.sigmoid(self.std(x) + 2.0) + low
    output = outputs.Normal(jnp.tanh(self.mean(x)), std, self.std_range)
    return outputs.event(output, len(self.mean.shape))


@HEAD.register('normal_logstd')
class NormalLogStd(nnx.Module):
  """Normal with free mean and std = exp(s).

  Source: Schulman et al. 2017 (arXiv 1707.06347).
  """

  @takes(Projection)
  def __init__(self, input_size: int, space: Space, **projection):
    shape = continuous_shape(space)
    self.mean = Projection(input_size, shape, **projection)
    self.std = Projection(input_size, shape, **projection)

  def __call__(self, x: jax.Array) -> object:
    output = outputs.Normal(self.mean(x), jnp.exp(self.std(x)))
    return outputs.event(output, len(self.mean.shape))
