"""Stacks of layers: equal to their parts in turn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.nn.mlp import MLP, Dense, NormAct
from dreamer_nnx.nn.precision import Precision
from tests.filling import filled

X = np.random.default_rng(0).normal(size=(3, 2, 5)).astype(np.float32)


def make(layers, compute='float32', **kw):
  precision = Precision(compute)
  return filled(
    lambda rngs: MLP(
      5, layers=layers, units=4, precision=precision, rngs=rngs, **kw
    )
  )


def by_hand(mlp, x):
  """RMS norm and SiLU after every affine map."""
  for layer in mlp.layers:
    x = x @ np.asarray(layer.linear.kernel[...])
    x = x + np.asarray(layer.linear.bias[...])
    x = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-4)
    x = x * np.asarray(layer.norm_act.norm.scale[...])
    x = x / (1 + np.exp(-x))
  return x


def test_layers_are_affine_then_norm_then_activation():
  mlp = make(2)
  np.testing.assert_allclose(jax.jit(mlp)(X), by_hand(mlp, X), atol=1e-5)


def test_no_layers_is_the_identity():
  mlp = make(0)
  assert mlp.output_size == 5
  np.testing.assert_array_equal(mlp(X), X)


@pytest.mark.parametrize('norm', ['rms', 'layer', 'none'])
def test_every_row_is_computed_alone(norm):
  mlp = jax.jit(make(2, norm=norm, act='gelu'))
  np.testing.assert_allclose(mlp(X[::-1]), mlp(X)[::-1], atol=1e-6)


def test_output_size_is_that_of_the_output():
  mlp = make(3)
  assert jax.eval_shape(mlp, X).shape == (3, 2, mlp.output_size) == (3, 2, 4)


def test_bfloat16_is_near_float32():
  found = jax.jit(make(2, 'bfloat16'))(X)
  assert found.dtype == jnp.bfloat16
  exact = jax.jit(make(2))(X)
  # 8 bits of mantissa, on values up to 2, through two norms.
  np.testing.assert_allclose(found.astype(np.float32), exact, atol=0.05)


def test_norm_and_activation_can_be_left_out():
  norm_act = NormAct(5, norm='none', act='none')
  np.testing.assert_array_equal(norm_act(X), X)


def test_dense_is_linear_then_norm_and_act():
  dense = filled(lambda rngs: Dense(5, 4, precision=Precision(), rngs=rngs))
  np.testing.assert_array_equal(dense(X), dense.norm_act(dense.linear(X)))
