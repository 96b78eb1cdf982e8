"""Running statistics: moving averages by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import NORMALIZER

# Percentiles p of the numbers 0 to 100 are p itself.
RANGE = np.arange(101, dtype=np.float32)
BATCHES = np.random.default_rng(0).normal(3, 2, (4, 5, 6)).astype(np.float32)


def make(name, **kw):
  return Choice(NORMALIZER, name, **kw)()


def floats(stats):
  return tuple(map(float, stats))


@pytest.mark.parametrize('name', ['none', 'meanstd', 'perc'])
def test_every_one_keeps_the_contract(name):
  assert isinstance(make(name), contracts.Normalizer)


def test_none_is_the_identity_whatever_it_saw():
  norm = make('none')
  norm.update(RANGE)
  assert norm.stats() == (0, 1)


def test_percentiles_by_hand():
  norm = make('perc', rate=0.1, debias=False, perclo=5.0, perchi=90.0)
  norm.update(RANGE)
  # A tenth of 5 and 90, then nine tenths of that and a tenth of twice as much.
  assert floats(norm.stats()) == pytest.approx((0.5, 8.5))
  norm.update(2 * RANGE)
  assert floats(norm.stats()) == pytest.approx((1.45, 24.65))


def test_debiased_percentiles_are_right_at_once():
  norm = make('perc', rate=0.1, debias=True)
  norm.update(RANGE)
  assert floats(norm.stats()) == pytest.approx((5, 90))
  norm.update(RANGE)
  assert floats(norm.stats()) == pytest.approx((5, 90))


def test_limit_is_the_smallest_scale():
  norm = make('perc', rate=0.5, limit=3.0, debias=False)
  assert floats(norm.stats()) == (0, 3)
  norm.update(RANGE / 100)
  assert floats(norm.stats()) == pytest.approx((0.025, 3))
  norm.update(RANGE)
  assert norm.stats()[1] > 40


def test_mean_and_std_of_one_batch():
  norm = make('meanstd', rate=0.3, debias=True)
  norm.update(BATCHES[0])
  expected = (BATCHES[0].mean(), BATCHES[0].std())
  assert floats(norm.stats()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('debias', [False, True])
def test_mean_and_std_follow_the_moving_averages(debias):
  norm = make('meanstd', rate=0.3, debias=debias)
  mean = square = weight = 0.0
  for x in BATCHES:
    norm.update(x)
    mean = 0.7 * mean + 0.3 * x.mean()
    square = 0.7 * square + 0.3 * np.square(x).mean()
    weight = 0.7 * weight + 0.3
  weight = weight if debias else 1
  mean, square = mean / weight, square / weight
  expected = (mean, (square - mean**2) ** 0.5)
  assert floats(norm.stats()) == pytest.approx(expected, rel=1e-4)


def test_std_of_a_constant_is_the_limit():
  norm = make('meanstd', rate=1.0, limit=0.25, debias=False)
  # In float32 the difference of squares of these is -1; it is clamped.
  norm.update(np.full(7, 2273.9233, np.float32))
  assert norm.stats()[1] == 0.25


@pytest.mark.parametrize('name', ['meanstd', 'perc'])
def test_order_and_shape_of_a_batch_do_not_matter(name):
  one, two = make(name), make(name)
  one.update(BATCHES[0])
  two.update(BATCHES[0].ravel()[::-1])
  assert floats(one.stats()) == pytest.approx(floats(two.stats()), rel=1e-5)


@pytest.mark.parametrize('name', ['meanstd', 'perc'])
def test_statistics_are_not_trained(name):
  norm = make(name)
  assert not jax.tree.leaves(nnx.state(norm, nnx.Param))

  @jax.jit
  def slope(x):
    def scale(x):
      norm = make(name)
      norm.update(x)
      return jnp.stack(norm.stats()).sum()

    return jax.grad(scale)(x)

  np.testing.assert_array_equal(slope(RANGE), np.zeros(101))


def test_half_precision_is_averaged_in_float32():
  norm = make('meanstd')
  norm.update(jnp.asarray(RANGE * 600, jnp.float16))
  mean, std = floats(norm.stats())
  # float16 rounds numbers up to 60000 to multiples of 32.
  assert mean == pytest.approx(30000, abs=16)
  assert std == pytest.approx(600 * RANGE.std(), rel=1e-3)
