"""Activation functions by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dreamer_nnx import registry

ACTIVATIONS = {
  'none': lambda x: x,
  'silu': jax.nn.silu,
  'gelu': jax.nn.gelu,
  'relu': jax.nn.relu,
  'relu2': lambda x: jnp.square(jax.nn.relu(x)),
  'elu': jax.nn.elu,
  'mish': jax.nn.mish,
  'tanh': jnp.tanh,
  'sigmoid': jax.nn.sigmoid,
}


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
  """The function of that name; ValueError with a suggestion for others."""
  return registry.pick(ACTIVATIONS, name, 'act')
