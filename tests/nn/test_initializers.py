"""Initialisers: spread and bounds of the draws."""

import re

import jax
import numpy as np
import pytest

from dreamer_nnx.nn.initializers import TRUNCATION, initialize

SHAPE = (3, 3, 20, 60)
FANS = {'in': 9 * 20, 'out': 9 * 60, 'avg': 9 * 40}
COUNT = np.prod(SHAPE)


def draw(name, shape=SHAPE, scale=1.0):
  return np.asarray(initialize(name, jax.random.key(0), shape, scale))


@pytest.mark.parametrize('fan', FANS)
@pytest.mark.parametrize('distribution', ['trunc_normal', 'normal'])
def test_normal_draws_have_the_std_of_their_fan(distribution, fan):
  # Five standard errors; the constant of the truncation has three digits.
  bound = 5 / (2 * COUNT) ** 0.5 + 1e-3
  limit = FANS[fan] ** -0.5
  kernel = draw(f'{distribution}_{fan}') / limit
  assert abs(kernel.std() - 1) < bound
  assert abs(kernel.mean()) < 5 / COUNT**0.5
  if distribution == 'trunc_normal':
    assert 0.95 * 2 * TRUNCATION < np.abs(kernel).max() <= 2 * TRUNCATION


@pytest.mark.parametrize('fan', FANS)
def test_uniform_draws_fill_the_interval_of_their_fan(fan):
  kernel = draw(f'uniform_{fan}') * FANS[fan] ** 0.5
  assert -1 <= kernel.min() < -0.99 and 0.99 < kernel.max() < 1
  assert abs(kernel.std() - 3**-0.5) < 0.01


def test_leading_axes_count_as_space():
  # The same key and number of draws: only the fan differs.
  flat, blocks = draw('normal_in', (24, 5)), draw('normal_in', (4, 6, 5))
  np.testing.assert_allclose(flat.ravel(), blocks.ravel(), rtol=1e-6)
  assert flat.std() > 0


def test_scale_multiplies_and_zero_is_exact():
  name = 'trunc_normal_in'
  np.testing.assert_allclose(draw(name, scale=0.5), 0.5 * draw(name))
  np.testing.assert_array_equal(draw(name, scale=0.0), np.zeros(SHAPE))


def test_unknown_name_is_refused_with_a_suggestion():
  message = "winit = 'normal_on': no such name. Did you mean 'normal_"
  with pytest.raises(ValueError, match=re.escape(message)):
    draw('normal_on')
