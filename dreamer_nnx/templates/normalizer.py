"""Scales by the largest magnitude that was seen."""

from typing import Annotated

import jax.numpy as jnp
from flax import nnx

from dreamer_nnx.schema import Epsilon, Range
from dreamer_nnx.slots import NORMALIZER

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


class Largest(nnx.Variable):
  """A statistic: kept between updates, not trained by gradients."""


@NORMALIZER.register('mine')
class Mine(nnx.Module):
  """Offset 0, scale max(limit, m), m ← max(decay · m, max |x|).

  Args:
    decay: Part of the largest that is kept at each update.
    limit: Smallest scale.
  """

  def __init__(
    self, *, decay: Annotated[float, Range(0, 1)] = 0.99, limit: Epsilon = 1e-8
  ):
    self.largest = Largest(jnp.zeros(()))
    self.decay, self.limit = decay, limit

  def update(self, x):
    new = jnp.abs(x.astype(jnp.float32)).max()
    self.largest[...] = jnp.maximum(self.decay * self.largest[...], new)

  def stats(self):
    return 0.0, jnp.maximum(self.limit, self.largest[...])
