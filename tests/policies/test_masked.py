"""A policy that never takes an action that is not allowed."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.policies.masked import MaskedPolicy
from dreamer_nnx.policies.mlp import MLPPolicy
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import HEAD, POLICY
from tests.filling import filled

ACTIONS = {
  'buttons': gs.MultiDiscrete([2, 3]),
  'jump': gs.Discrete(4),
  'move': gs.Box(-1, 1, (2,), np.float32),
}
MASKS = {
  'mask/buttons': gs.Box(0, 1, (5,), np.float32),
  'mask/jump': gs.Box(0, 1, (4,), np.float32),
}
COUNT = 10_000
FEAT = {'deter': np.ones((COUNT, 3), np.float32)}
# Of the second button the first class alone is out.
BUTTONS = np.array([True, False, False, True, True])
JUMP = np.array([False, True, True, False])


def make(cls=MaskedPolicy, obs_space=MASKS, **kw):
  return filled(
    lambda rngs: cls(
      {'deter': 3},
      obs_space,
      ACTIONS,
      layers=0,
      **kw,
      precision=Precision(),
      rngs=rngs,
    )
  )


@pytest.fixture(scope='module')
def policy():
  return make(discrete=Choice(HEAD, 'categorical', unimix=0.5))


def broadcast(**masks):
  return {k: np.broadcast_to(x, (COUNT, len(x))) for k, x in masks.items()}


MASK = broadcast(buttons=BUTTONS, jump=JUMP)


@pytest.fixture(scope='module')
def found(policy):
  """What the policy says and draws under the mask."""

  @jax.jit
  def run(feat, mask):
    joint = policy(feat, given={}, mask=mask)
    action = joint.sample(jax.random.key(0))
    entropy_range = joint.entropy_range()
    rows = jax.tree.map(lambda x: x[:1], (joint.entropy(), entropy_range))
    return action, joint.logp(action), joint.pred(), *rows

  return run(FEAT, MASK)


def test_excluded_classes_are_never_drawn(found):
  action, _, greedy, *_ = found
  assert set(np.unique(action['jump'])) == {1, 2}
  assert set(np.unique(action['buttons'][:, 0])) == {0}
  assert set(np.unique(action['buttons'][:, 1])) == {1, 2}
  assert JUMP[greedy['jump'][0]] and greedy['buttons'][0, 0] == 0


def test_allowed_classes_keep_their_proportions(policy, found):
  """They share what the excluded ones had, after the uniform share."""
  logits = policy.outputs(FEAT)['jump'].logits[0]
  weights = np.exp(np.float64(logits)) * JUMP
  probs = weights / weights.sum()
  frequency = np.eye(4)[found[0]['jump']].mean(0)
  # Five standard deviations of a frequency.
  np.testing.assert_allclose(frequency, probs, atol=5 * 0.5 / COUNT**0.5)


def test_log_probabilities_and_entropies_are_finite(policy, found):
  _, logp, _, entropy, bounds = found
  assert np.isfinite(logp).all()
  p = probabilities(policy.outputs(FEAT)['jump'].logits[0], JUMP)
  expected = -(p[JUMP] * np.log(p[JUMP])).sum()
  np.testing.assert_allclose(entropy['jump'][0], expected, rtol=1e-5)
  for low, high in bounds.values():
    assert np.isfinite(low).all() and np.isfinite(high).all()
  joint = policy(rows(FEAT), given={}, mask=rows(MASK))
  # Of the excluded ones, too.
  whole = joint.outputs['jump'].logp(np.arange(4))
  assert np.isfinite(whole).all()


def rows(tree, count=4):
  return jax.tree.map(lambda x: x[:count], tree)


def probabilities(logits, mask):
  weights = np.exp(np.float64(logits)) * mask
  return weights / weights.sum()


def test_gradients_are_finite_and_leave_excluded_classes_alone(policy):
  action = {'jump': jnp.ones(4, int), 'buttons': jnp.tile(jnp.array([0, 1]), 4)}
  action['buttons'] = action['buttons'].reshape(4, 2)

  def total(shift):
    output = policy.outputs(rows(FEAT))['jump']
    output = type(output)(output.logits + shift).masked(rows(MASK)['jump'])
    return (output.logp(action['jump']) + output.entropy()).sum()

  slope = jax.grad(total)(jnp.zeros((4, 4)))
  assert np.isfinite(slope).all()
  np.testing.assert_array_equal(slope[:, ~JUMP], np.zeros((4, 2)))
  assert (np.abs(slope[:, JUMP]) > 0).all()


@pytest.mark.parametrize('allowed', [True, False])
def test_a_mask_without_a_true_allows_all(policy, allowed):
  mask = broadcast(jump=np.full(4, allowed), buttons=np.full(5, allowed))
  joint = policy(rows(FEAT), given={}, mask=rows(mask))
  plain = policy.outputs(rows(FEAT))
  for name in ('jump', 'buttons'):
    np.testing.assert_allclose(
      joint.outputs[name].entropy(), plain[name].entropy(), rtol=1e-6
    )
  np.testing.assert_array_equal(
    joint.outputs['jump'].logits, plain['jump'].logits
  )


def test_without_a_mask_it_is_the_policy_mlp():
  one, two = make(), make(MLPPolicy, {})
  action = {
    'jump': jnp.ones(4, int),
    'buttons': jnp.ones((4, 2), int),
    'move': jnp.full((4, 2), 0.3),
  }
  logp = [x(rows(FEAT), given={}, mask={}).logp(action) for x in (one, two)]
  np.testing.assert_array_equal(*logp)


def test_a_mask_of_another_size_is_refused(policy):
  with pytest.raises(AssertionError):
    policy(rows(FEAT), given={}, mask={'jump': np.ones((4, 3), bool)})


def test_an_environment_without_masks_is_refused():
  choice = Choice(POLICY, 'masked').at('config.behavior.actor_critic.policy')
  message = (
    'config.behavior.actor_critic.policy.masked: the environment gives no '
    'masks. Observe mask/<action>, a number for each class, 0 where it is'
  )
  with pytest.raises(UserError, match=re.escape(message)):
    choice(
      feat_space={'deter': 3},
      obs_space={},
      action_space=ACTIONS,
      precision=Precision(),
      rngs=nnx.Rngs(0),
    )
