"""The prediction of the actions that are allowed."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.contracts import Observed, Replayed
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.objectives.masks import Masks
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import OBJECTIVE
from tests.filling import filled

B, T = 3, 4
RNG = np.random.default_rng(0)
FEAT = {'deter': RNG.normal(size=(B, T, 2)).astype(np.float32)}
SPACE = {
  'mask/jump': gs.Box(0, 1, (3,), np.float32),
  'mask/buttons': gs.MultiDiscrete([2, 2, 2, 2, 2]),
  'vector': gs.Box(-1, 1, (2,), np.float32),
}
STEPS = {
  'mask/jump': np.float32(RNG.random((B, T, 3)) < 0.5),
  'mask/buttons': RNG.integers(0, 2, (B, T, 5)).astype(np.int32),
  'is_last': np.array([[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], bool),
}
KEY = jax.random.key(0)


def make(**kw):
  return filled(
    lambda rngs: Masks(
      SPACE, {'deter': 2}, **kw, precision=Precision(), rngs=rngs
    )
  )


@pytest.fixture(scope='module')
def masks():
  return make()


def replayed_of(feat=FEAT, steps=STEPS):
  observed = Observed(feat, feat)
  return Replayed(None, steps, {}, {}, {}, None, observed, None)


def losses_of(masks, **kw):
  return jax.jit(lambda: masks.losses(replayed_of(**kw), KEY, True))()


def logits_of(masks, name):
  return np.float64(masks.predictors[name](FEAT).output.logit)


def test_losses_are_cross_entropies_where_masks_count(masks):
  losses, metrics = losses_of(masks)
  assert losses.keys() == metrics.keys() == {'mask/jump', 'mask/buttons'}
  for name in ('jump', 'buttons'):
    logit, true = logits_of(masks, name), STEPS[f'mask/{name}'] > 0
    per_class = np.log1p(np.exp(np.where(true, -logit, logit)))
    # After the last step of an episode the action is ignored.
    expected = per_class.sum(-1) * ~STEPS['is_last']
    found = losses[f'mask/{name}']
    assert found.shape == (B, T)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    right = ((logit > 0) == true).mean()
    np.testing.assert_allclose(metrics[f'mask/{name}'], right, rtol=1e-6)


def test_what_is_predicted_is_allowed_above_one_half(masks):
  found = masks.mask(None, FEAT)
  assert found.keys() == {'jump', 'buttons'}
  for name, x in found.items():
    assert x.dtype == bool
    np.testing.assert_array_equal(x, logits_of(masks, name) > 0)


def test_it_learns_a_mask_that_features_tell():
  # One class is always allowed, the others by the sign of a feature.
  true = (FEAT['deter'][..., :1] > 0) | (np.arange(3) == 0)
  steps = STEPS | {'mask/jump': np.float32(true)}
  steps |= {'is_last': np.zeros((B, T), bool)}
  graphdef, params = nnx.split(make())

  @jax.jit
  def descend(params):
    def total(params):
      losses, _ = nnx.merge(graphdef, params).losses(
        replayed_of(steps=steps), KEY, True
      )
      return losses['mask/jump'].mean()

    return jax.tree.map(
      lambda x, g: x - 0.05 * g, params, jax.grad(total)(params)
    )

  for _ in range(200):
    params = descend(params)
  learnt = nnx.merge(graphdef, params)
  np.testing.assert_array_equal(learnt.mask(None, FEAT)['jump'], true)


def test_features_are_trained(masks):
  def total(deter):
    losses, _ = masks.losses(replayed_of({'deter': deter}), KEY, True)
    return sum(x.sum() for x in losses.values())

  slope = jax.jit(jax.grad(total))(jnp.asarray(FEAT['deter']))
  assert np.any(slope[~STEPS['is_last']])
  np.testing.assert_array_equal(slope[STEPS['is_last']], 0)


def test_an_environment_without_masks_is_refused():
  choice = Choice(OBJECTIVE, 'masks').at('config.objectives')
  build = functools.partial(
    choice,
    obs_space={'vector': SPACE['vector']},
    stored_space={'vector': SPACE['vector']},
    action_space={},
    encoder=None,
    token_size=2,
    feat_space={'deter': 2},
    precision=Precision(),
    rngs=nnx.Rngs(0),
  )
  message = 'config.objectives.masks: the environment gives no masks'
  with pytest.raises(UserError, match=re.escape(message)):
    build()
