"""Running statistics as exponential moving averages.

s ← (1 - rate) s + rate · statistic(x), over the whole batch
"""

from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import Epsilon, Range
from dreamer_nnx.slots import NORMALIZER

Array = jax.Array
Rate = Annotated[float, Range(1e-37, 1)]
Percent = Annotated[float, Range(0, 100)]


class Statistic(nnx.Variable):
  """A running average; not trained by gradients."""


class Averages(nnx.Module):
  """Moving averages that start at 0, with optional correction for it.

  Args:
    count: Number of averages.
    rate: Weight of the newest.
    debias: Divide by the same average of the constant 1.
  """

  def __init__(self, count: int, rate: float, debias: bool):
    self.values = Statistic(jnp.zeros((count,)))
    self.weight = Statistic(jnp.zeros(())) if debias else nnx.data(None)
    self.rate = rate

  def update(self, new: Array) -> None:
    new = jax.lax.stop_gradient(new)
    self.values[...] = (1 - self.rate) * self.values[...] + self.rate * new
    if self.weight is not None:
      self.weight[...] = (1 - self.rate) * self.weight[...] + self.rate

  def read(self) -> Array:
    if self.weight is None:
      return self.values[...]
    return self.values[...] / jnp.maximum(self.rate, self.weight[...])


@NORMALIZER.register('none')
class NoNormalizer(nnx.Module):
  """Normaliser without statistics: offset 0, scale 1.

  Source: Hafner et al. 2025 (arXiv 2301.04104).
  """

  def __init__(self):
    pass

  def update(self, x: Array) -> None:
    del x

  def stats(self) -> tuple[float, float]:
    return 0.0, 1.0


@NORMALIZER.register('meanstd')
class MeanStd(nnx.Module):
  """Normaliser with offset mean, scale max(limit, √max(0, E[x²] - mean²)).

  Args:
    rate: Weight of the newest batch in the moving averages.
    limit: Smallest scale.
    debias: Corrects the averages for their start at 0.

  Source: Hafner et al. 2025 (arXiv 2301.04104).
  """

  def __init__(
    self, *, rate: Rate = 0.01, limit: Epsilon = 1e-8, debias: bool = True
  ):
    self.averages = Averages(2, rate, debias)
    self.limit = limit

  def update(self, x: Array) -> None:
    x = x.astype(jnp.float32)
    self.averages.update(jnp.stack([x.mean(), jnp.square(x).mean()]))

  def stats(self) -> tuple[Array, Array]:
    mean, square = self.averages.read()
    std = jnp.sqrt(jax.nn.relu(square - jnp.square(mean)))
    return mean, jnp.maximum(self.limit, std)


@NORMALIZER.register('perc')
class Percentile(nnx.Module):
  """Normaliser with offset low percentile, scale max(limit, high - low).

  Args:
    perclo: Low percentile, in percent; below `perchi`.
    perchi: High percentile, in percent.
    limit: Smallest scale; 1 keeps small returns as they are.
    rate: Weight of the newest batch in the moving averages.
    debias: Corrects the averages for their start at 0.

  Source: Hafner et al. 2025 (arXiv 2301.04104).
  """

  def __init__(
    self,
    *,
    rate: Rate = 0.01,
    limit: Epsilon = 1e-8,
    perclo: Percent = 5.0,
    perchi: Percent = 95.0,
    debias: bool = True,
  ):
    if perclo >= perchi:
      what = f'must be below perchi, which is {perchi}.'
      raise UserError(what, 'perclo', perclo)
    self.averages = Averages(2, rate, debias)
    self.percentiles = (perclo, perchi)
    self.limit = limit

  def update(self, x: Array) -> None:
    percentiles = jnp.asarray(self.percentiles)
    self.averages.update(jnp.percentile(x.astype(jnp.float32), percentiles))

  def stats(self) -> tuple[Array, Array]:
    low, high = self.averages.read()
    return low, jnp.maximum(self.limit, high - low)
