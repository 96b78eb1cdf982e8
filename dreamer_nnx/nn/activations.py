"""Activation functions by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dreamer_nnx import registry

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


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
  """The function of that name; ValueError with a suggestion for others."""
  return registry.pick(ACTIVATIONS, name, 'act')
