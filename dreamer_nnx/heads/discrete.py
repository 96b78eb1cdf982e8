"""Heads over classes and bits."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from gymnasium import spaces as gym_spaces

from dreamer_nnx import spaces
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.numerics import outputs
from dreamer_nnx.slots import HEAD


@HEAD.register('binary')
class Binary(nnx.Module):
  """Bernoulli for each number of the space."""

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
    self.shape = space.shape
    self.logit = Linear(
      input_size,
      math.prod(space.shape),
      winit=winit,
      outscale=outscale,
      precision=precision,
      rngs=rngs,
    )

  def __call__(self, x: jax.Array) -> outputs.Binary:
    logit = self.logit(x).astype(jnp.float32)
    logit = logit.reshape(*x.shape[:-1], *self.shape)
    return outputs.event(outputs.Binary(logit), len(self.shape))


@HEAD.register('categorical')
class Categorical(nnx.Module):
  """One categorical for each dimension of a discrete space.

  Args:
    unimix: Share of the uniform distribution mixed into the probabilities.
  """

  def __init__(
    self,
    input_size: int,
    space: gym_spaces.Space,
    *,
    unimix: float = 0.0,
    outscale: float = 1.0,
    winit: str = 'trunc_normal_in',
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    if not spaces.is_discrete(space):
      raise UserError(f'head categorical: needs a discrete space, got {space}.')
    self.classes = spaces.classes(space)
    self.shape = tuple(space.shape)
    self.unimix = unimix
    self.logits = Linear(
      input_size,
      sum(self.classes),
      winit=winit,
      outscale=outscale,
      precision=precision,
      rngs=rngs,
    )

  def __call__(self, x: jax.Array) -> outputs.Likelihood:
    logits = self.logits(x).astype(jnp.float32)
    bounds = np.cumsum(self.classes)[:-1]
    parts = [
      outputs.Categorical(outputs.mix_uniform(part, self.unimix))
      for part in jnp.split(logits, bounds, -1)
    ]
    if not self.shape:
      return parts[0]
    return outputs.MultiCategorical(tuple(parts), self.shape)


@HEAD.register('onehot')
class OneHot(nnx.Module):
  """Categoricals whose events are one-hot: spaces (..., C).

  Args:
    unimix: Share of the uniform distribution mixed into the probabilities.
  """

  def __init__(
    self,
    input_size: int,
    space: gym_spaces.Space,
    *,
    unimix: float = 0.0,
    outscale: float = 1.0,
    winit: str = 'trunc_normal_in',
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    if spaces.is_discrete(space) or not space.shape:
      raise UserError(
        f'head onehot: needs a Box whose last axis is the classes, got {space}.'
      )
    self.shape = space.shape
    self.unimix = unimix
    self.logits = Linear(
      input_size,
      math.prod(space.shape),
      winit=winit,
      outscale=outscale,
      precision=precision,
      rngs=rngs,
    )

  def __call__(self, x: jax.Array) -> outputs.Likelihood:
    logits = self.logits(x).astype(jnp.float32)
    logits = logits.reshape(*x.shape[:-1], *self.shape)
    output = outputs.OneHot(outputs.mix_uniform(logits, self.unimix))
    return outputs.event(output, len(self.shape) - 1)
