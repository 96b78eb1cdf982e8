"""The contrast of steps."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from dreamer_nnx.contracts import Observed, Replayed
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.objectives.infonce import InfoNCE
from tests.filling import filled

B, T, F, E = 2, 4, 5, 3
RNG = np.random.default_rng(0)
FEAT = RNG.normal(size=(B, T, F)).astype(np.float32)
TOKENS = RNG.normal(size=(B, T, E)).astype(np.float32)
FIRST = np.array([[0, 0, 1, 0], [0, 0, 0, 0]], bool)
KEY = jax.random.key(0)


def make(tokens=E, **kw):
  kw |= dict(precision=Precision('float32'))
  return filled(lambda rngs: InfoNCE(tokens, {'deter': F}, **kw, rngs=rngs))


def replayed_of(feat, tokens, world=None):
  observed = Observed({'deter': feat}, {})
  steps = {'is_first': FIRST}
  action = {'move': jnp.ones((B, T))}
  return Replayed(world, steps, {}, {}, action, tokens, observed, None)


def run(module, feat=FEAT, tokens=TOKENS, world=None):
  call = jax.jit(
    lambda feat, tokens: module.losses(
      replayed_of(feat, tokens, world), KEY, True
    )
  )
  losses, metrics = jax.device_get(call(feat, tokens))
  return losses['infonce'], metrics['infonce/told']


def unit(x):
  x = np.asarray(x, np.float64)
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def expected(module, feat, tokens):
  """The loss (N,) of N steps, and which of them are told."""
  affine = lambda m, x: x @ m.kernel[...] + m.bias[...]
  x = unit(affine(module.feat_projector, feat).reshape(-1, 4))
  y = unit(affine(module.token_projector, tokens).reshape(-1, 4))
  scores = x @ y.T / module.temperature
  loss = logsumexp(scores, 1) - np.diagonal(scores)
  return loss, scores.argmax(1) == np.arange(len(x))


@pytest.mark.parametrize('temperature', [0.1, 2.0])
def test_loss_is_a_cross_entropy_over_all_steps(temperature):
  module = make(size=4, temperature=temperature)
  loss, told = run(module)
  wanted, right = expected(module, FEAT, TOKENS)
  np.testing.assert_allclose(loss.reshape(-1), wanted, rtol=1e-4)
  np.testing.assert_allclose(told, right.mean(), rtol=1e-6)


def test_aligned_pairs_have_a_lower_loss_than_permuted_ones():
  module = make(tokens=F, size=F)
  for projector in (module.feat_projector, module.token_projector):
    projector.kernel[...], projector.bias[...] = jnp.eye(F), jnp.zeros(F)
  loss, told = run(module, FEAT, 3 * FEAT)
  assert told == 1
  for other in (FEAT[::-1], np.roll(FEAT, 1, 1)):
    permuted, none = run(module, FEAT, other)
    assert (permuted > loss + 1).all() and none < 0.5


def test_features_and_tokens_both_learn():
  module = make(size=4)
  total = lambda *inputs: module.losses(replayed_of(*inputs), KEY, True)[0][
    'infonce'
  ].sum()
  for slope in jax.jit(jax.grad(total, (0, 1)))(FEAT, TOKENS):
    assert (np.abs(slope).max(-1) > 0).all()


class Counting:
  """Dynamics that add the action to the features."""

  def starts(self, carry, observed, count):
    return observed.feat['deter'][:, -count:].reshape(-1, F)

  def predict(self, carry, action, key):
    return carry, {'deter': carry + action['move'][:, None]}


def test_predicted_features_come_from_the_step_before():
  module = make(size=4, predicted=True)
  world = SimpleNamespace(dynamics=Counting())
  loss, told = run(module, world=world)
  wanted, right = expected(module, FEAT[:, :-1] + 1, TOKENS[:, 1:])
  counts = ~FIRST[:, 1:]
  wanted = np.where(counts, wanted.reshape(B, T - 1), 0)
  np.testing.assert_allclose(loss[:, 1:], wanted, rtol=1e-4)
  np.testing.assert_array_equal(loss[:, 0], 0)
  right = right.reshape(B, T - 1)[counts]
  np.testing.assert_allclose(told, right.mean(), rtol=1e-6)
