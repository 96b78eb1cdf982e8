"""Adaptive gradient clipping by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.optimizers.clipping import clip_by_agc

# Norms 5 and 2: at 0.3 gradients up to 1.5 and 0.6 pass.
PARAMS = {'a/kernel': np.float32([[3], [4]]), 'a/bias': np.float32([0, 2, 0])}


def clip(grads, params=None, agc=0.3):
  optimizer = clip_by_agc(agc)
  params = params or PARAMS
  clipped, _ = optimizer.update(grads, optimizer.init(params), params)
  return clipped


def test_large_gradients_are_scaled_to_their_share_of_the_parameter():
  grads = {
    'a/kernel': np.float32([[0], [-10]]),
    'a/bias': np.float32([3, 0, -4]),
  }
  clipped = clip(grads)
  np.testing.assert_allclose(clipped['a/kernel'], [[0], [-1.5]], rtol=1e-6)
  np.testing.assert_allclose(clipped['a/bias'], [0.36, 0, -0.48], rtol=1e-6)


def test_small_gradients_pass_unchanged():
  grads = {'a/kernel': np.float32([[0.9], [1.2]]), 'a/bias': np.zeros(3)}
  clipped = clip(grads)
  np.testing.assert_allclose(clipped['a/kernel'], grads['a/kernel'], rtol=1e-6)
  np.testing.assert_array_equal(clipped['a/bias'], np.zeros(3))


def test_parameters_count_as_a_thousandth_at_least():
  params = {'x': np.zeros(2, np.float32)}
  clipped = clip({'x': np.float32([6, 8])}, params)
  np.testing.assert_allclose(clipped['x'], [0.6 * 3e-4, 0.8 * 3e-4], rtol=1e-6)


def test_zero_never_clips():
  grads = {'a/kernel': np.float32([[1e6], [0]]), 'a/bias': np.ones(3)}
  assert clip(grads, agc=0.0) is grads


@pytest.mark.parametrize('factor', [2.0, 1000.0])
def test_clipped_gradients_do_not_depend_on_their_size(factor):
  rng = np.random.default_rng(0)
  grads = {k: 10 * rng.normal(size=v.shape) for k, v in PARAMS.items()}
  one, two = clip(grads), clip({k: factor * g for k, g in grads.items()})
  for key in grads:
    np.testing.assert_allclose(one[key], two[key], rtol=1e-5)
    assert jnp.linalg.norm(one[key]) < np.linalg.norm(grads[key])
