"""Correlations of features and tokens."""

import jax
import numpy as np

from dreamer_nnx.objectives.barlow import correlations

RNG = np.random.default_rng(0)


def test_correlations_are_those_of_numpy():
  x, y = RNG.normal(size=(2, 5, 4, 3)).astype(np.float32)
  y += x[..., ::-1]
  flat = np.concatenate([x.reshape(20, 3), y.reshape(20, 3)], 1)
  expected = np.corrcoef(flat.T)[:3, 3:]
  same, other = correlations(x, y)
  np.testing.assert_allclose(same, np.diagonal(expected), atol=1e-5)
  np.testing.assert_allclose(other, expected * (1 - np.eye(3)), atol=1e-5)


def test_what_never_changes_correlates_with_nothing():
  x = np.ones((2, 3, 4), np.float32)
  same, other = correlations(x, RNG.normal(size=(2, 3, 4)))
  assert not same.any() and not other.any()
  slope = jax.grad(lambda x: correlations(x, x)[0].sum())(x)
  assert np.isfinite(slope).all()
