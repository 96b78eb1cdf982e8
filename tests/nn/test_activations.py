"""Activations by name."""

import re

import numpy as np
import pytest

from dreamer_nnx.nn.activations import ACTIVATIONS, activation

X = np.float32([-2, -0.5, 0, 1, 3])


def test_values_by_hand():
  sigmoid = 1 / (1 + np.exp(-X))
  expected = {
    'none': X,
    'relu': [0, 0, 0, 1, 3],
    'relu2': [0, 0, 0, 1, 9],
    'sigmoid': sigmoid,
    'silu': X * sigmoid,
    'tanh': np.tanh(X),
    'elu': np.where(X > 0, X, np.expm1(X)),
    'mish': X * np.tanh(np.log1p(np.exp(X))),
  }
  for name, values in expected.items():
    found = activation(name)(X)
    np.testing.assert_allclose(found, values, atol=1e-6, err_msg=name)


def test_gelu_is_near_its_tails():
  assert set(ACTIVATIONS) >= {'gelu'}
  found = activation('gelu')(np.float32([-6, 0, 6]))
  np.testing.assert_allclose(found, [0, 0, 6], atol=1e-5)


def test_unknown_name_is_refused_with_a_suggestion():
  message = "act = 'sillu': no such name. Did you mean 'silu'?"
  with pytest.raises(ValueError, match=re.escape(message)):
    activation('sillu')
