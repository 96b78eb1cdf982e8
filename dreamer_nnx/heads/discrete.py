"""Heads over classes and bits."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dreamer_nnx import spaces
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.numerics import outputs
from dreamer_nnx.schema import Share
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import HEAD
from dreamer_nnx.spacetypes import Space


@HEAD.register('binary')
class Binary(nnx.Module):
  """Bernoulli for each number of the space.

  Source: Hafner et al. 2025 (arXiv 2301.04104).
  """

  @takes(Linear)
  def __init__(self, input_size: int, space: Space, **linear):
    self.shape = space.shape
    self.logit = Linear(input_size, math.prod(space.shape), **linear)

  def __call__(self, x: jax.Array) -> outputs.Binary:
    logit = self.logit(x).astype(jnp.float32)
    # (..., prod(shape)) to (..., *shape).
    logit = logit.reshape(*x.shape[:-1], *self.shape)
    return outputs.event(outputs.Binary(logit), len(self.shape))


@HEAD.register('categorical')
class Categorical(nnx.Module):
  """One categorical for each dimension of a discrete space.

  Args:
    unimix: Share of the uniform distribution mixed into the probabilities.

  Source: Hafner et al. 2025 (arXiv 2301.04104).
  """

  @takes(Linear)
  def __init__(
    self,
    input_size: int,
    space: Space,
    *,
    unimix: Share = 0.0,
    **linear,
  ):
    if not spaces.is_discrete(space):
      raise UserError(f'needs a discrete space, got {space}.')
    self.classes = spaces.classes(space)
    self.shape = tuple(space.shape)
    self.unimix = unimix
    self.logits = Linear(input_size, sum(self.classes), **linear)

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

  Source: Hafner et al. 2021 (arXiv 2010.02193).
  """

  @takes(Linear)
  def __init__(
    self,
    input_size: int,
    space: Space,
    *,
    unimix: Share = 0.0,
    **linear,
  ):
    if spaces.is_discrete(space) or not space.shape:
      raise UserError(
        f'needs a Box whose last axis is the classes, got {space}.'
      )
    self.shape = space.shape
    self.unimix = unimix
    self.logits = Linear(input_size, math.prod(space.shape), **linear)

  def __call__(self, x: jax.Array) -> outputs.Likelihood:
    logits = self.logits(x).astype(jnp.float32)
    # (..., S * C) to (..., S, C).
    logits = logits.reshape(*x.shape[:-1], *self.shape)
    output = outputs.OneHot(outputs.mix_uniform(logits, self.unimix))
    return outputs.event(output, len(self.shape) - 1)
