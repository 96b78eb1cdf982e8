"""Finite scalar quantisation: numbers on L even levels from -1 to 1.

Source: Mentzer et al. 2023 (arXiv 2309.15505). Its levels are shifted by half
a step where L is even; these are symmetric.
"""

import dataclasses

import jax
import jax.numpy as jnp

from dreamer_nnx.numerics import sampling
from dreamer_nnx.numerics.outputs import straight_through

Array = jax.Array


def value_of(index: Array, count: int) -> Array:
  """Returns the level of an index in [0, count), float32."""
  return index.astype(jnp.float32) * (2 / (count - 1)) - 1


def position_of(value: Array, count: int) -> Array:
  """Returns where values in [-1, 1] lie among the indices, float32."""
  return (value.astype(jnp.float32) + 1) * ((count - 1) / 2)


def index_of(value: Array, count: int) -> Array:
  """Returns the index of the nearest level, int32."""
  return jnp.round(position_of(value, count)).astype(jnp.int32)


@dataclasses.dataclass(frozen=True)
class Levels:
  """One of L levels, from (..., L) logits.

  A sample has the gradient of the mean.
  """

  logits: Array

  @property
  def probs(self) -> Array:
    return jax.nn.softmax(self.logits, -1)

  @property
  def logprob(self) -> Array:
    return jax.nn.log_softmax(self.logits, -1)

  def sample(self, key: Array) -> Array:
    count = self.logits.shape[-1]
    drawn = value_of(sampling.categorical(key, self.probs), count)
    mean = (self.probs * value_of(jnp.arange(count), count)).sum(-1)
    return straight_through(drawn, mean)

  def entropy(self) -> Array:
    return -(self.probs * self.logprob).sum(-1)


@dataclasses.dataclass(frozen=True)
class Quantized:
  """The level nearest to a number in [-1, 1], without randomness.

  Args:
    number: (...,).
    count: L.
  """

  number: Array
  count: int

  def sample(self, key: Array) -> Array:
    """Returns the level; its gradient is that of the number."""
    del key
    hard = value_of(index_of(self.number, self.count), self.count)
    return straight_through(hard, self.number)

  def entropy(self) -> Array:
    return jnp.zeros_like(self.number)

  def kl(self, other: Levels) -> Array:
    """Computes -log p of the level.

    Its gradient in the number is that of log p interpolated between levels.
    """
    indices = jnp.arange(self.count)
    # (...,) to (..., L): one-hot, and as a tent around the position.
    index = index_of(self.number, self.count)
    hard = jax.nn.one_hot(index, self.count, dtype=jnp.float32)
    position = position_of(self.number, self.count)
    soft = jax.nn.relu(1 - jnp.abs(position[..., None] - indices))
    return -(straight_through(hard, soft) * other.logprob).sum(-1)
