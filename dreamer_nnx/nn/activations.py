"""Activation functions by name."""

from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp

from dreamer_nnx import registry
from dreamer_nnx.schema import OneOf

ACTIVATIONS = {
  'none': lambda x: x,
  'silu': jax.nn.silu,
  'swish': jax.nn.silu,
  'gelu': jax.nn.gelu,
  'relu': jax.nn.relu,
  'relu2': lambda x: jnp.square(jax.nn.relu(x)),
  'relu6': jax.nn.relu6,
  'leaky_relu': jax.nn.leaky_relu,
  'elu': jax.nn.elu,
  'selu': jax.nn.selu,
  'celu': jax.nn.celu,
  'softplus': jax.nn.softplus,
  'hard_swish': jax.nn.hard_swish,
  'mish': jax.nn.mish,
  'tanh': jnp.tanh,
  'hard_tanh': jax.nn.hard_tanh,
  'soft_sign': jax.nn.soft_sign,
  'sigmoid': jax.nn.sigmoid,
}
Act = Annotated[str, OneOf(*ACTIVATIONS)]


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
  """Looks a function up; UserError with a suggestion where there is none."""
  return registry.pick(ACTIVATIONS, name, 'act')
