"""An output layer: a normal distribution of one width."""

from typing import Annotated

import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import spaces
from dreamer_nnx.errors import UserError
from dreamer_nnx.heads.projection import Projection
from dreamer_nnx.numerics import outputs
from dreamer_nnx.schema import Range
from dreamer_nnx.slots import HEAD

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@HEAD.register('mine')
class Mine(nnx.Module):
  """Normal with a free mean and the same std everywhere.

  Args:
    std: Standard deviation.

  Raises:
    UserError: The space is discrete.
  """

  def __init__(
    self,
    input_size,
    space,
    *,
    std: Annotated[float, Range(1e-6)] = 1.0,
    precision,
    rngs,
  ):
    if spaces.is_discrete(space):
      raise UserError(f'needs a continuous space, got {space}.')
    self.mean = Projection(
      input_size, space.shape, precision=precision, rngs=rngs
    )
    self.std = std

  def __call__(self, x):
    mean = self.mean(x)
    output = outputs.Normal(mean, jnp.full_like(mean, self.std))
    # One event is all numbers of the space together.
    return outputs.event(output, len(self.mean.shape))
