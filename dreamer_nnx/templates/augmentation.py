"""Adds noise to what the encoder sees of vectors."""

import jax
import jax.numpy as jnp

from dreamer_nnx import spaces, streams
from dreamer_nnx.schema import Weight
from dreamer_nnx.slots import AUGMENTATION

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@AUGMENTATION.register('mine')
class Mine:
  """Gaussian noise on continuous vectors; images and classes stay.

  Args:
    scale: Standard deviation of the noise; 0 leaves it out.
  """

  def __init__(self, obs_space, *, scale: Weight = 0.01):
    self.scale = scale
    self.keys = tuple(
      key
      for key, space in obs_space.items()
      if not spaces.is_image(space) and not spaces.is_discrete(space)
    )

  def __call__(self, inputs, key):
    def noisy(name, x):
      noise = jax.random.normal(streams.at(key, name), x.shape, x.dtype)
      # An infinity marks a missing value.
      return jnp.where(jnp.isfinite(x), x + self.scale * noise, x)

    return inputs | {name: noisy(name, inputs[name]) for name in self.keys}
