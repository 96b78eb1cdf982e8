"""Prototypes: their assignments, who learns from them, and slow copies."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx.contracts import Observed, Replayed
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.slow_copy import SlowParam
from dreamer_nnx.objectives.dreamerpro import DreamerPro, sinkhorn
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import OBJECTIVE
from tests.filling import filled

B, T, F, V, E, K = 2, 4, 5, 3, 6, 4
RNG = np.random.default_rng(0)
FEAT = RNG.normal(size=(B, T, F)).astype(np.float32)
TOKENS = RNG.normal(size=(B, T, E)).astype(np.float32)
OBS, AUGMENTED = RNG.normal(size=(2, B, T, V)).astype(np.float32)
KEY, FLOAT32 = jax.random.key(0), Precision('float32')
SLOW = ('slow_encoder', 'slow_projector')


class Encoder(nnx.Module):
  token_size = E

  def __init__(self, rngs):
    self.linear = Linear(V, E, precision=FLOAT32, rngs=rngs)

  def __call__(self, obs):
    return jnp.tanh(self.linear(obs['vector']))


def build(rngs):
  sizes = dict(prototypes=K, size=3, rate=0.25)
  given = dict(precision=FLOAT32, rngs=rngs)
  return DreamerPro(Encoder(rngs), E, {'deter': F}, **sizes, **given)


def replayed_of(feat, tokens, seen):
  observed = Observed({'deter': feat}, {})
  steps, inputs = {'vector': OBS}, {'vector': seen}
  return Replayed(None, steps, inputs, {}, {}, tokens, observed, None)


@pytest.fixture(scope='module')
def module():
  return filled(build)


@pytest.fixture(scope='module')
def found(module):
  """Losses, and their slopes by features, tokens, inputs and arrays."""
  graphdef, state = nnx.split(module)

  @jax.jit
  def slopes(state, *given):
    def losses(state, *given):
      module = nnx.merge(graphdef, state)
      return module.losses(replayed_of(*given), KEY, True)[0]

    total = lambda name: lambda *args: losses(*args)[name].sum()
    slope = lambda name: jax.grad(total(name), (0, 1, 2, 3))(state, *given)
    values = losses(state, *given)
    return values, {name: slope(name) for name in values}

  return jax.device_get(slopes(state, FEAT, TOKENS, AUGMENTED))


def test_assignments_sum_to_one_and_are_balanced():
  # All steps like the first class most, and some far better than others.
  scores = RNG.normal(size=(3, 8, K)) * 3 + np.array([6, 0, -2, 40])
  shares = np.asarray(jax.jit(sinkhorn, static_argnums=1)(scores, 100))
  np.testing.assert_allclose(shares.sum(-1), np.ones((3, 8)), rtol=1e-5)
  used = shares.sum((0, 1))
  np.testing.assert_allclose(used, np.full(K, 24 / K), rtol=1e-2)
  once = np.asarray(sinkhorn(scores, 1))
  np.testing.assert_allclose(once.sum(-1), np.ones((3, 8)), rtol=1e-5)
  assert once.sum((0, 1)).std() > 2 * used.std()
  # In each class, the steps that it fits best come first.
  order = lambda x: (x - x.mean(-1, keepdims=True)).reshape(-1, K)
  fit = np.corrcoef(order(scores).T, order(np.log(shares)).T)
  assert (np.diagonal(fit[:K, K:]) > 0.5).all()


def test_large_scores_are_assigned_without_overflow():
  scores = jnp.asarray([[1e4, -1e4, 0.0], [1e4, 0.0, -1e4]])
  shares = np.asarray(sinkhorn(scores, 3))
  assert np.isfinite(shares).all()
  np.testing.assert_allclose(shares.sum(-1), [1, 1], rtol=1e-5)


def unit(x, axis=-1):
  x = np.asarray(x, np.float64)
  return x / np.linalg.norm(x, axis=axis, keepdims=True)


def affine(linear, x):
  return x @ linear.kernel[...] + linear.bias[...]


def test_losses_are_cross_entropies_of_slow_assignments(module, found):
  prototypes = unit(module.prototypes[...], 0)
  slow = np.tanh(affine(module.slow_encoder.module.linear, OBS))
  slow = unit(affine(module.slow_projector.module, slow)) @ prototypes
  shares = np.asarray(sinkhorn(slow / module.epsilon, module.iterations))
  given = {
    'swav': affine(module.token_projector, TOKENS),
    'temporal': affine(module.feat_projector, FEAT),
  }
  losses, _ = found
  assert losses.keys() == given.keys()
  for name, x in given.items():
    logits = unit(x) @ prototypes / module.temperature
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -(shares * logp).sum(-1)
    np.testing.assert_allclose(losses[name], expected, rtol=1e-3)


def test_predictions_learn_and_targets_do_not(found):
  _, slopes = found
  for name, own in (('swav', 'token'), ('temporal', 'feat')):
    state, feat, tokens, inputs = slopes[name]
    assert np.any(feat) == (name == 'temporal')
    assert np.any(tokens) == (name == 'swav')
    # What is assigned is seen as it is, whatever the encoder saw.
    assert not np.any(inputs)
    learnt = {
      path[0]
      for path, variable in nnx.to_flat_state(state)
      if np.any(variable.get_value())
    }
    assert learnt == {'prototypes', f'{own}_projector'}


def test_targets_are_no_parameters(module):
  kinds = {
    path[0]: type(variable)
    for path, variable in nnx.to_flat_state(nnx.state(module))
  }
  assert {k for k, kind in kinds.items() if kind is SlowParam} == set(SLOW)


def test_slow_copies_begin_as_their_sources_and_follow():
  @jax.jit
  def followed(key):
    module, encoder = build(nnx.Rngs(key)), Encoder(nnx.Rngs(7))
    arrays = lambda module: nnx.to_pure_dict(nnx.state(module))
    state = lambda: {
      name: arrays(getattr(module, name).module) for name in SLOW
    }
    source = arrays(module.token_projector)
    before = state()
    module.token_projector.bias[...] += 1
    module.after_update(SimpleNamespace(encoder=encoder), jnp.asarray(5))
    return before, state(), arrays(encoder), source

  before, after, encoder, projector = jax.device_get(followed(KEY))
  jax.tree.map(
    np.testing.assert_array_equal, before['slow_projector'], projector
  )
  moved = {
    'slow_encoder': encoder,
    'slow_projector': projector | {'bias': projector['bias'] + 1},
  }
  mix = lambda old, new: 0.75 * old + 0.25 * new
  expected = jax.tree.map(mix, before, moved)
  close = lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6)
  jax.tree.map(close, after, expected)


def test_a_rate_that_is_neither_slow_nor_a_copy_is_refused():
  choice = Choice(OBJECTIVE, 'dreamerpro', rate=0.7).at('config.objectives')
  given = dict.fromkeys(choice.given)
  given |= dict(encoder=Encoder(nnx.Rngs(0)), token_size=E)
  given |= dict(feat_space={'deter': F}, precision=FLOAT32, rngs=nnx.Rngs(0))
  message = 'config.objectives.dreamerpro.rate = 0.7: must be 1, or below 0.5'
  with pytest.raises(UserError, match=re.escape(message)):
    jax.eval_shape(lambda: choice(**given) and None)
