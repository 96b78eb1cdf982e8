"""Norms over the last axis."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.nn.norm import EPS, make_norm

X = np.float32([[3, 4, 0, 0], [-1, 2, 5, 10], [1e-3, 0, -1e-3, 2e-3]])
SCALE = np.float32([1, 2, 0.5, -1])


def test_rms_by_hand():
  norm = make_norm('rms', 4)
  norm.scale[...] = SCALE
  mean_square = np.float32([25, 130, 6e-6])[:, None] / 4
  expected = X / np.sqrt(mean_square + 1e-4) * SCALE
  np.testing.assert_allclose(norm(X), expected, rtol=1e-5)


def test_layer_by_hand():
  norm = make_norm('layer', 4)
  norm.scale[...], norm.shift[...] = SCALE, np.float32([0, 1, -2, 3])
  centred = X - X.mean(-1, keepdims=True)
  expected = centred / np.sqrt(X.var(-1, keepdims=True) + EPS) * SCALE
  expected += np.float32([0, 1, -2, 3])
  np.testing.assert_allclose(norm(X), expected, atol=2e-5)


def test_new_layer_norm_has_mean_zero_and_variance_one():
  y = np.asarray(make_norm('layer', 4)(X[:2]))
  np.testing.assert_allclose(y.mean(-1), 0, atol=1e-6)
  # The epsilon takes up to 1e-4 / 3 of it.
  np.testing.assert_allclose(y.var(-1), 1, atol=1e-4)


def test_layer_norm_of_a_constant_is_finite():
  # In float32 the difference of squares of these is -0.75; it is clamped.
  x = np.full((1, 5), 1914.4631, np.float32)
  # A rounding of the mean is multiplied by 1 / √ε = 100.
  np.testing.assert_allclose(make_norm('layer', 5)(x), 0, atol=2e-2)


def test_none_changes_nothing():
  np.testing.assert_array_equal(make_norm('none', 4)(X), X)


@pytest.mark.parametrize('name', ['rms', 'layer'])
def test_half_precision_is_squared_in_float32(name):
  # The squares are beyond the largest float16, 65504.
  x = jnp.asarray(X[:2] * 1000, jnp.float16)
  y = make_norm(name, 4)(x)
  assert y.dtype == jnp.float16
  exact = make_norm(name, 4)(X[:2] * 1000)
  np.testing.assert_allclose(y.astype(np.float32), exact, atol=2e-3)


def test_unknown_name_is_refused_with_a_suggestion():
  message = "norm = 'layers': no such name. Did you mean 'layer'?"
  with pytest.raises(ValueError, match=re.escape(message)):
    make_norm('layers', 4)
