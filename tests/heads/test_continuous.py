"""Heads over real numbers."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.numerics.squash import symlog
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import HEAD
from tests.filling import filled

NAMES = (
  'mse',
  'symlog_mse',
  'huber',
  'symexp_twohot',
  'symlog_twohot',
  'hl_gauss',
  'bounded_normal',
  'normal_logstd',
)
X = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)


def box(*shape):
  return gs.Box(-np.inf, np.inf, shape, np.float32)


def build(rngs, name, space, **kw):
  return Choice(HEAD, name, **kw)(
    input_size=5, space=space, precision=Precision(), rngs=rngs
  )


def make(name, *shape, **kw):
  return filled(lambda rngs: build(rngs, name, box(*shape), **kw))


@pytest.mark.parametrize('shape', [(), (4,), (2, 2)], ids=str)
@pytest.mark.parametrize('name', NAMES)
def test_one_event_of_the_space_in_float32(name, shape):
  def answers():
    output = build(nnx.Rngs(0), name, box(*shape))(X.astype(jnp.bfloat16))
    return output.pred(), output.loss(jnp.ones((2, 3, *shape)))

  pred, loss = jax.eval_shape(answers)
  assert pred.shape == (2, 3, *shape) and pred.dtype == jnp.float32
  assert loss.shape == (2, 3) and loss.dtype == jnp.float32


@pytest.mark.parametrize('name', NAMES)
def test_a_discrete_space_is_refused(name):
  message = f'config.head.{name}: needs a continuous space, got Discrete(3).'
  with pytest.raises(ValueError, match=re.escape(message)):
    build(nnx.Rngs(0), name, gs.Discrete(3))


@pytest.mark.parametrize(
  ('name', 'squash'), [('mse', lambda x: x), ('symlog_mse', symlog)]
)
def test_squared_errors_are_summed_over_the_event(name, squash):
  head = make(name, 4)
  target = np.float32([5, -9, 0.5, 0])
  mean = X @ np.asarray(head.mean.linear.kernel[...])
  mean = mean + np.asarray(head.mean.linear.bias[...])
  np.testing.assert_allclose(head(X).pred(), mean, atol=1e-5)
  expected = np.square(mean - squash(target)).sum(-1)
  np.testing.assert_allclose(head(X).loss(target), expected, rtol=1e-5)


def test_huber_has_its_width():
  head = make('huber', eps=4.0)
  output = head(X)
  loss = output.loss(output.pred() + 3)
  np.testing.assert_allclose(loss, np.ones((2, 3)), rtol=1e-5)


def test_bounded_normal_by_hand():
  head = make('bounded_normal', 4, minstd=0.2, maxstd=0.7)
  normal = head(X).output
  np.testing.assert_allclose(normal.mean, np.tanh(head.mean(X)), rtol=1e-6)
  logit = np.asarray(head.std(X)) + 2
  expected = 0.5 / (1 + np.exp(-logit)) + 0.2
  np.testing.assert_allclose(normal.std, expected, rtol=1e-5)


def test_bounded_normal_stays_within_its_bounds():
  output = make('bounded_normal', 4)(100 * X)
  normal, (low, high) = output.output, output.entropy_range()
  assert (np.abs(normal.mean) <= 1).all()
  assert normal.std.min() >= 0.1 and normal.std.max() <= 1
  entropy = np.asarray(output.entropy())
  assert (low - 1e-5 <= entropy).all() and (entropy <= high + 1e-5).all()


def test_normal_with_free_std_by_hand():
  head = make('normal_logstd', 4)
  normal = head(X).output
  np.testing.assert_array_equal(normal.mean, head.mean(X))
  np.testing.assert_allclose(normal.std, np.exp(head.std(X)), rtol=1e-6)
