"""Parts of a state that are drawn: classes, normals, quantised numbers."""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.numerics import outputs, quantized
from dreamer_nnx.schema import Count, Epsilon, Range, Share
from dreamer_nnx.sizes import CLASSES, by_size
from dreamer_nnx.slots import STOCHASTIC

Array = jax.Array


def _indices(shape: tuple[int, ...], count: int) -> jax.ShapeDtypeStruct:
  """Describes indices in [0, count) in the smallest unsigned format."""
  return jax.ShapeDtypeStruct(shape, np.min_scalar_type(count - 1))


@STOCHASTIC.register('categorical')
@dataclasses.dataclass(frozen=True, kw_only=True)
class Categorical:
  """S one-hot classes (S, C), with straight-through gradients.

  Args:
    stoch: S, categorical variables.
    classes: C, classes of each variable.
    unimix: Share of the uniform distribution in prior and posterior.

  Source: Hafner et al. 2020 (arXiv 2010.02193).
  """

  precision: Precision
  stoch: Count = 32
  classes: Count = 32
  unimix: Share = 0.01

  sizes = by_size(classes=CLASSES)

  @property
  def shape(self) -> tuple[int, ...]:
    return self.stoch, self.classes

  @property
  def posterior_size(self) -> int:
    return self.stoch * self.classes

  prior_size = posterior_size

  @property
  def entry(self) -> jax.ShapeDtypeStruct:
    return _indices((self.stoch,), self.classes)

  def posterior(self, params: Array) -> outputs.Independent:
    # (..., S·C) to (..., S, C).
    logits = params.reshape(*params.shape[:-1], *self.shape)
    mixed = outputs.mix_uniform(logits, self.unimix)
    return outputs.Independent(outputs.OneHot(mixed), 1)

  prior = posterior

  def pack(self, value: Array) -> Array:
    return jnp.argmax(value, -1).astype(self.entry.dtype)

  def unpack(self, entry: Array) -> Array:
    dtype = self.precision.compute_dtype
    return jax.nn.one_hot(entry, self.classes, dtype=dtype)


@STOCHASTIC.register('gaussian')
@dataclasses.dataclass(frozen=True, kw_only=True)
class Gaussian:
  """S independent normals, drawn by reparametrisation.

    std = (maxstd - minstd) sigmoid(s + 2) + minstd

  Args:
    stoch: S, normal variables.
    minstd: Lower bound of the standard deviation.
    maxstd: Upper bound of the standard deviation.

  Source: Hafner et al. 2018 (arXiv 1811.04551), with bounds of the std.
  """

  precision: Precision
  stoch: Count = 64
  minstd: Epsilon = 0.1
  maxstd: Epsilon = 2.0

  def __post_init__(self):
    if self.minstd > self.maxstd:
      what = f'must be at most maxstd, which is {self.maxstd}.'
      raise UserError(what, 'minstd', self.minstd)

  @property
  def shape(self) -> tuple[int, ...]:
    return (self.stoch,)

  @property
  def posterior_size(self) -> int:
    return 2 * self.stoch

  prior_size = posterior_size

  @property
  def entry(self) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(self.shape, self.precision.compute_dtype)

  def posterior(self, params: Array) -> outputs.Independent:
    mean, std = jnp.split(params.astype(jnp.float32), 2, -1)
    low, high = self.minstd, self.maxstd
    std = (high - low) * jax.nn.sigmoid(std + 2.0) + low
    return outputs.Independent(outputs.Normal(mean, std, (low, high)), 1)

  prior = posterior

  def pack(self, value: Array) -> Array:
    return self.precision.cast(value)

  def unpack(self, entry: Array) -> Array:
    return self.precision.cast(entry)


@STOCHASTIC.register('fsq')
@dataclasses.dataclass(frozen=True, kw_only=True)
class FSQ:
  """S numbers, each rounded to one of L even levels from -1 to 1.

  The posterior is the level nearest to tanh, with straight-through gradients;
  the prior gives every level of every number a probability. So the KL is the
  cross-entropy.

  Args:
    stoch: S, numbers that are rounded.
    levels: L, levels of each number.
    unimix: Share of the uniform distribution in the prior.

  Source: Mentzer et al. 2023 (arXiv 2309.15505).
  """

  precision: Precision
  stoch: Count = 64
  levels: Annotated[int, Range(2)] = 5
  unimix: Share = 0.01

  @property
  def shape(self) -> tuple[int, ...]:
    return (self.stoch,)

  @property
  def posterior_size(self) -> int:
    return self.stoch

  @property
  def prior_size(self) -> int:
    return self.stoch * self.levels

  @property
  def entry(self) -> jax.ShapeDtypeStruct:
    return _indices(self.shape, self.levels)

  def posterior(self, params: Array) -> outputs.Independent:
    number = jnp.tanh(params.astype(jnp.float32))
    return outputs.Independent(quantized.Quantized(number, self.levels), 1)

  def prior(self, params: Array) -> outputs.Independent:
    # (..., S·L) to (..., S, L).
    logits = params.reshape(*params.shape[:-1], self.stoch, self.levels)
    mixed = outputs.mix_uniform(logits, self.unimix)
    return outputs.Independent(quantized.Levels(mixed), 1)

  def pack(self, value: Array) -> Array:
    return quantized.index_of(value, self.levels).astype(self.entry.dtype)

  def unpack(self, entry: Array) -> Array:
    return self.precision.cast(quantized.value_of(entry, self.levels))
