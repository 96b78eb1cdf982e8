"""The part of a state that is drawn: one bit each."""

import jax
import jax.numpy as jnp

from dreamer_nnx.numerics import outputs
from dreamer_nnx.schema import Count
from dreamer_nnx.slots import STOCHASTIC

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@STOCHASTIC.register('mine')
class Mine:
  """S bits, each one of two one-hot classes, with straight-through gradients.

  Args:
    stoch: S.
  """

  def __init__(self, precision, *, stoch: Count = 32):
    self.precision = precision
    # (S, 2): a bit and its opposite.
    self.shape = (stoch, 2)
    self.posterior_size = self.prior_size = 2 * stoch
    self.entry = jax.ShapeDtypeStruct((stoch,), jnp.uint8)

  def posterior(self, params):
    # (..., 2 S) to (..., S, 2).
    logits = params.reshape(*params.shape[:-1], *self.shape)
    mixed = outputs.mix_uniform(logits, 0.01)
    return outputs.Independent(outputs.OneHot(mixed), 1)

  def prior(self, params):
    return self.posterior(params)

  def pack(self, value):
    return jnp.argmax(value, -1).astype(jnp.uint8)

  def unpack(self, entry):
    return jax.nn.one_hot(entry, 2, dtype=self.precision.compute_dtype)
