"""Weighs each loss of the model by how uncertain it is, which is learned."""

import jax.numpy as jnp
from flax import nnx

from dreamer_nnx.slots import WEIGHTING

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@WEIGHTING.register('mine')
class Mine(nnx.Module):
  """One learned number for all losses together.

    scaled = scale · (exp(-s) loss + s)

  Source: Kendall et al. 2018, arXiv 1705.07115.
  """

  def __init__(self):
    self.log_variance = nnx.Param(jnp.zeros(()), axes=())

  def __call__(self, losses, scales):
    s = self.log_variance[...]
    weigh = lambda name, loss: scales[name] * (jnp.exp(-s) * loss + s)
    return {name: weigh(name, loss) for name, loss in losses.items()}
