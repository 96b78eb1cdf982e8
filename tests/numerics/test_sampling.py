"""Draws have the distribution that is asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.numerics import sampling

categorical = jax.jit(sampling.categorical)
normal = jax.jit(sampling.normal)
N = 40_000
# Five standard deviations of a frequency, at most ½ / √N.
FREQUENCY = 5 * 0.5 / N**0.5


def test_categorical_has_the_frequencies_of_the_weights():
  probs = np.float32([[1, 2, 0.2, 0.8], [0.3, 0.3, 0.3, 0.1]])
  key = jax.random.key(0)
  draws = categorical(key, np.broadcast_to(probs, (N, 2, 4)))
  assert draws.shape == (N, 2) and draws.dtype == jnp.int32
  found = np.eye(4)[draws,].mean(0)
  expected = probs / probs.sum(-1, keepdims=True)
  np.testing.assert_allclose(found, expected, atol=FREQUENCY)


def test_categorical_never_draws_the_impossible():
  probs = np.float32([0, 0.2, 0, 0.8, 0])
  draws = categorical(jax.random.key(1), np.broadcast_to(probs, (N, 5)))
  assert set(np.unique(draws)) == {1, 3}


def test_categorical_of_one_sure_class_is_that_class():
  classes = np.arange(30) % 3
  draws = categorical(jax.random.key(2), np.eye(3, dtype=np.float32)[classes])
  np.testing.assert_array_equal(draws, classes)


def test_draws_depend_on_the_key_alone():
  probs = np.ones((64, 8), np.float32)
  first, again, other = (
    categorical(jax.random.key(seed), probs) for seed in (5, 5, 6)
  )
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_normal_has_its_mean_and_std():
  mean = np.broadcast_to(np.float32([3, -20]), (N, 2))
  std = np.float32([0.5, 4])
  draws = np.asarray(normal(jax.random.key(3), mean, std))
  # Five standard errors of the mean and of the std.
  np.testing.assert_allclose(
    (draws.mean(0) - mean[0]) / std, 0, atol=5 / N**0.5
  )
  np.testing.assert_allclose(draws.std(0) / std, 1, atol=5 / (2 * N) ** 0.5)
  assert abs(np.corrcoef(draws.T)[0, 1]) < 5 / N**0.5


def test_normal_without_std_is_its_mean():
  mean = np.float32([[1, -2], [3, 4]])
  np.testing.assert_array_equal(normal(jax.random.key(4), mean, 0.0), mean)


def test_numbers_without_classes_are_refused():
  with pytest.raises(AssertionError):
    categorical(jax.random.key(0), np.float32(0.5))
  with pytest.raises(AssertionError, match='broadcast'):
    normal(jax.random.key(0), np.zeros(3, np.float32), np.ones((2, 3)))
