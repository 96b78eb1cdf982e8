"""Two-hot codes: encode then decode is the identity."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.numerics.twohot import (
  even_bins,
  histogram,
  symexp_bins,
  symmetric_mean,
  twohot,
)
from tests.compiling import optimized

TINY = np.finfo(np.float32).tiny
code = jax.jit(twohot)


@jax.jit
def mean(probs, bins):
  # Logits of probabilities 0 that lose no pair's difference.
  return symmetric_mean(jnp.log(jnp.maximum(probs, TINY)), bins)


def test_decoding_the_code_gives_the_number_back():
  bins = symexp_bins(255)
  rng = np.random.default_rng(0)
  sign = rng.choice([-1, 1], (20, 50))
  x = (sign * np.expm1(rng.uniform(0, 19, (20, 50)))).astype(np.float32)
  # Two products of a weight and a bin, and their sum: a few roundings each.
  decoded = mean(code(x, bins), bins)
  np.testing.assert_allclose(decoded, x, rtol=2e-6, atol=1e-7)


def test_weights_are_by_distance():
  bins = np.float32([-1, 0, 2])
  x = np.float32([0.5, -0.25, 1.5])
  expected = [[0, 0.75, 0.25], [0.25, 0.75, 0], [0, 0.25, 0.75]]
  np.testing.assert_allclose(code(x, bins), expected, rtol=1e-6)


def test_a_bin_itself_has_all_the_weight():
  bins = np.float32([-1, 0, 2, 7])
  np.testing.assert_array_equal(code(bins, bins), np.eye(4))


def test_numbers_beyond_the_ends_are_clipped():
  bins = np.float32([-1, 0, 2])
  x = np.float32([-50, 2.5, 1e30])
  np.testing.assert_array_equal(code(x, bins), np.eye(3)[[0, 2, 2]])


@pytest.mark.parametrize('count', [6, 9])
def test_weights_are_two_at_most_and_sum_to_one(count):
  bins = symexp_bins(count)
  x = np.float32(np.linspace(-2e9, 2e9, 41)).reshape(41, 1)
  weights = np.asarray(code(x, bins))
  assert weights.shape == (41, 1, count)
  assert (weights >= 0).all()
  assert ((weights > 0).sum(-1) <= 2).all()
  np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)


def test_bins_by_hand():
  big, small = np.expm1(20), np.expm1(10)
  odd = [-big, -small, 0, small, big]
  np.testing.assert_allclose(symexp_bins(5), odd, rtol=1e-6)
  even = [-big, -small, 0, 0, small, big]
  np.testing.assert_allclose(symexp_bins(6), even, rtol=1e-6)


@pytest.mark.parametrize('count', [2, 3, 40, 41, 255])
def test_bins_are_ascending_and_antisymmetric_to_the_last_bit(count):
  bins = symexp_bins(count)
  assert bins.shape == (count,) and bins.dtype == np.float32
  np.testing.assert_array_equal(bins, -bins[::-1])
  assert (np.diff(bins) >= 0).all()
  assert (np.diff(bins) == 0).sum() == (count % 2 == 0 and count > 2)


def test_one_bin_is_refused():
  with pytest.raises(ValueError, match='needs at least 2 bins'):
    symexp_bins(1)


@pytest.mark.parametrize('count', [8, 41, 255])
def test_uniform_probabilities_give_exactly_zero(count):
  logits = np.full((3, count), 0.7, np.float32)
  # An optimised program may round a product and a sum as one.
  decode = optimized(symmetric_mean)
  found = decode(logits, symexp_bins(count))
  np.testing.assert_array_equal(found, np.zeros(3))


@pytest.mark.parametrize('count', [6, 7])
def test_symmetric_mean_is_the_mean(count):
  rng = np.random.default_rng(1)
  probs = rng.dirichlet(np.ones(count), 5).astype(np.float32)
  bins = np.float32(np.linspace(-30, 30, count))
  # Terms up to 30 cancel: their rounding is the absolute error.
  np.testing.assert_allclose(mean(probs, bins), probs @ bins, atol=1e-5)


def test_logits_far_apart_have_a_finite_mean_and_gradient():
  logits = np.float32([[-400, 0, 400], [400, 0, -400], [0, 400, 0]])
  bins = np.float32([-7, 0, 7])
  found = jax.jit(symmetric_mean)(logits, bins)
  np.testing.assert_array_equal(found, [7, -7, 0])
  slopes = jax.grad(lambda x: symmetric_mean(x, bins).sum())(logits)
  assert np.isfinite(slopes).all()


def test_equal_logits_predict_nothing_however_they_are_rounded(monkeypatch):
  softmax = jax.nn.softmax
  # Two of a pair may be computed by different instructions.
  uneven = np.linspace(1 - 1e-6, 1 + 1e-6, 255, dtype=np.float32)
  monkeypatch.setattr(jax.nn, 'softmax', lambda x, axis: softmax(x) * uneven)
  half = np.random.default_rng(0).normal(size=(9, 127)).astype(np.float32)
  logits = np.concatenate([half, half[:, :1], half[:, ::-1]], 1)
  found = symmetric_mean(logits, symexp_bins(255))
  np.testing.assert_array_equal(found, np.zeros(9))


def test_bins_are_one_axis_as_long_as_the_probabilities():
  with pytest.raises(AssertionError, match='rank'):
    code(np.zeros(3, np.float32), np.zeros((2, 3)))
  with pytest.raises(AssertionError):
    mean(np.ones((2, 4), np.float32), np.float32([-1, 0, 1]))


@pytest.mark.parametrize('count', [2, 5, 6, 255])
def test_even_bins_are_antisymmetric_to_the_last_bit(count):
  bins = even_bins(count, 20.0)
  assert bins.shape == (count,) and bins.dtype == np.float32
  np.testing.assert_array_equal(bins, -bins[::-1])
  np.testing.assert_allclose(bins, np.linspace(-20, 20, count), rtol=1e-6)


def test_one_even_bin_is_refused():
  with pytest.raises(ValueError, match='at least 2 bins'):
    even_bins(1, 20.0)


@pytest.mark.parametrize('x', [-3.2, 0.0, 0.9, 2.5])
def test_histogram_by_hand(x):
  bins, s = even_bins(5, 4.0), 0.6 * 2
  phi = lambda e: 0.5 * (1 + math.erf((e - x) / (s * math.sqrt(2))))
  edges = [phi(e) for e in (-5, -3, -1, 1, 3, 5)]
  expected = np.diff(edges) / (edges[-1] - edges[0])
  found = jax.jit(functools.partial(histogram, sigma=0.6))(np.float32(x), bins)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_histograms_sum_to_one_and_have_the_mean_of_their_numbers():
  bins = even_bins(64, 10.0)
  x = np.linspace(-8, 8, 201).astype(np.float32)
  weights = jax.jit(functools.partial(histogram, sigma=0.75))(x, bins)
  np.testing.assert_allclose(weights.sum(-1), np.ones(201), rtol=1e-5)
  # Even bins of 0.75 standard deviations make an error of 1e-5 widths.
  np.testing.assert_allclose(mean(weights, bins), x, atol=2e-5)


def test_histograms_beyond_the_ends_are_those_of_the_ends():
  bins = even_bins(4, 3.0)
  found = histogram(np.float32([-1e30, 4, 1e30]), bins, 0.5)
  assert np.isfinite(found).all()
  np.testing.assert_array_equal(found[1], found[2])
  np.testing.assert_allclose(found[0], found[2][::-1], atol=1e-6)


@pytest.mark.parametrize('size', [1e-6, 1e-3, 0.02, 0.04, 1.0, 10.0])
def test_a_mean_of_nearly_equal_logits_keeps_its_digits(size):
  rng = np.random.default_rng(2)
  logits = (size * rng.normal(size=(64, 255))).astype(np.float32)
  bins = symexp_bins(255)
  exact = np.exp(logits.astype(np.float64))
  expected = exact @ bins.astype(np.float64) / exact.sum(-1)
  found = jax.jit(symmetric_mean)(logits, bins)
  # Relative to the terms, which cancel.
  terms = np.abs(exact[:, 128:] - exact[:, 126::-1]) @ bins[128:]
  error = np.abs(found - expected) * exact.sum(-1) / terms
  assert error.max() < 1e-5
