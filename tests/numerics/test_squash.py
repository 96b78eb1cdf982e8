"""Symlog and its inverse."""

import jax
import numpy as np

from dreamer_nnx.numerics.squash import symexp, symlog

X = np.float32([-1e6, -3.5, -1, -1e-4, 0, 2e-5, 0.5, 1, 20, 1e5])


def test_symexp_inverts_symlog():
  # exp turns the rounding of its argument, up to 14, into a relative error.
  np.testing.assert_allclose(symexp(symlog(X)), X, rtol=2e-6)


def test_symlog_inverts_symexp():
  y = np.float32([-20, -3, -1e-3, 0, 0.7, 14])
  np.testing.assert_allclose(symlog(symexp(y)), y, rtol=2e-6)


def test_both_are_odd_to_the_last_bit():
  for function in (symlog, symexp):
    y = np.clip(X, -50, 50)
    np.testing.assert_array_equal(function(-y), -function(y))


def test_values_by_hand():
  x = np.float32([0, np.e - 1, 1 - np.e**3])
  np.testing.assert_allclose(symlog(x), [0, 1, -3], rtol=1e-6)
  y = np.float32([0, np.log(3), -np.log(11)])
  np.testing.assert_allclose(symexp(y), [0, 2, -10], rtol=1e-6)


def test_symlog_is_the_identity_near_zero():
  x = np.float32([-3e-6, 1e-6, 4e-6])
  # The next term of the series is x² / 2.
  np.testing.assert_allclose(symlog(x), x, rtol=3e-6)


def test_slope_of_symlog_is_that_of_a_logarithm():
  x = np.float32([-9, -0.5, 0.25, 30])
  slope = jax.vmap(jax.grad(symlog))(x)
  np.testing.assert_allclose(slope, 1 / (1 + np.abs(x)), rtol=1e-6)
