"""Numbers as classes: two-hot codes and histograms."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import HEAD
from tests.compiling import optimized
from tests.filling import filled

NAMES = ('symexp_twohot', 'symlog_twohot', 'hl_gauss')
X = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)


def build(rngs, name, *shape, **kw):
  space = gs.Box(-np.inf, np.inf, shape, np.float32)
  return Choice(HEAD, name, **kw)(
    input_size=5, space=space, precision=Precision(), rngs=rngs
  )


def make(name, *shape, **kw):
  return filled(lambda rngs: build(rngs, name, *shape, **kw))


def answers(head, target):
  """Its output, and by one program what it predicts, and the loss."""

  def call(logits):
    output = head.output(logits)
    shape = logits.shape[:-1]
    return output.pred(), output.loss(jnp.full(shape, target, jnp.float32))

  output = head(X)
  logits = getattr(output, 'output', output).logits
  return output, *jax.jit(call)(logits)


def coded(head, x):
  """What the head predicts once its probabilities are the code of x."""
  output = head.output(jnp.zeros((len(x), head.logits.shape[-1])))
  # The loss is linear in the logarithms of the probabilities.
  weights = jax.jacobian(lambda z: -head.output(z).loss(x).sum())
  code = weights(output.logits) + 1 / output.logits.shape[-1]
  logits = jnp.log(jnp.maximum(code, 1e-30))
  return head.output(logits).pred()


@pytest.mark.parametrize('bins', [255, 64])
@pytest.mark.parametrize('name', NAMES)
def test_untrained_head_of_scale_zero_predicts_exactly_zero(name, bins):
  head = build(nnx.Rngs(0), name, outscale=0.0, bins=bins)
  pred = optimized(lambda x: head(x).pred())(X)
  np.testing.assert_array_equal(pred, np.zeros((2, 3)))


@pytest.mark.parametrize('name', NAMES)
def test_prediction_of_a_learned_number_is_the_number(name):
  x = np.float32([-3e4, -20, -0.5, 0, 1e-2, 3, 700, 1e6])
  head = build(nnx.Rngs(0), name)
  np.testing.assert_allclose(
    jax.jit(lambda x: coded(head, x))(x), x, 1e-3, 1e-4
  )


def test_symexp_twohot_has_its_own_bins_for_every_number():
  output, pred, _ = answers(make('symexp_twohot', 2, bins=9), 1.0)
  output = output.output
  assert output.logits.shape == (2, 3, 2, 9)
  even = np.linspace(-20, 20, 9)
  bins = np.sign(even) * np.expm1(np.abs(even))
  probs = np.asarray(jax.nn.softmax(output.logits, -1), np.float64)
  expected = (probs * bins).sum(-1)
  np.testing.assert_allclose(pred, expected, rtol=1e-4)


def test_symlog_twohot_by_hand():
  head = make('symlog_twohot', bins=9)
  output, pred, loss = answers(head, np.expm1(2.5))
  probs = np.asarray(jax.nn.softmax(output.logits, -1), np.float64)
  mean = (probs * np.linspace(-20, 20, 9)).sum(-1)
  expected = np.sign(mean) * np.expm1(np.abs(mean))
  np.testing.assert_allclose(pred, expected, rtol=1e-4, atol=1e-5)
  # symlog of 11.18 is 2.5: the middle of the bins 0 and 5.
  expected = -(np.log(probs[..., 4]) + np.log(probs[..., 5])) / 2
  np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_hl_gauss_in_plain_space_by_hand():
  fields = dict(bins=4, low=-1.0, high=3.0, symlog=False, sigma=0.5)
  output, pred, loss = answers(make('hl_gauss', **fields), 1.0)
  probs = np.asarray(jax.nn.softmax(output.logits, -1), np.float64)
  middles = np.array([-0.5, 0.5, 1.5, 2.5])
  np.testing.assert_allclose(pred, probs @ middles, rtol=1e-5)
  # Shares of a normal of standard deviation 0.5 around 1, within two of them
  # on each side and beyond.
  tail, inner = 0.02275 - 3.2e-5, 0.47725
  code = np.array([tail, inner, inner, tail]) / (2 * (tail + inner))
  expected = -(code * np.log(probs)).sum(-1)
  np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_hl_gauss_of_equal_logits_predicts_the_middle():
  fields = dict(low=-1.0, high=3.0, symlog=False, outscale=0.0)
  pred = build(nnx.Rngs(0), 'hl_gauss', **fields)(X).pred()
  np.testing.assert_array_equal(pred, np.ones((2, 3)))


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    (dict(low=2.0, high=2.0), 'low = 2.0: must be below high, which is 2.0.'),
    (dict(high=90.0), 'high = 90.0: must be within ±80 in symlog space.'),
    (dict(low=-90.0), 'low = -90.0: must be within ±80 in symlog space.'),
  ],
)
def test_ends_that_do_not_fit_are_refused(fields, message):
  with pytest.raises(UserError, match=re.escape(f'hl_gauss.{message}')):
    build(nnx.Rngs(0), 'hl_gauss', **fields)
  if 'symlog' in message:
    build(nnx.Rngs(0), 'hl_gauss', symlog=False, **fields)


@pytest.mark.parametrize('name', ['symlog_twohot', 'hl_gauss'])
def test_losses_are_not_trained_by_their_targets(name):
  head = make(name)
  gradient = jax.jit(jax.grad(lambda target: head(X).loss(target).sum()))
  np.testing.assert_array_equal(gradient(jnp.ones((2, 3))), np.zeros((2, 3)))
