"""A policy of one trunk, with a head for each action."""

import re

import jax
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.numerics import outputs
from dreamer_nnx.policies.mlp import MLPPolicy
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import HEAD, POLICY
from tests.filling import filled

ACTIONS = {
  'move': gs.Box(-1, 1, (2,), np.float32),
  'jump': gs.Discrete(3),
  'buttons': gs.MultiDiscrete([2, 4]),
}
FEAT_SPACE = {'deter': 3, 'stoch': 2}
RNG = np.random.default_rng(0)
FEAT = {
  name: RNG.normal(size=(4, 6, size)).astype(np.float32)
  for name, size in FEAT_SPACE.items()
}


def make_policy(space=ACTIONS, **kw):
  return filled(
    lambda rngs: MLPPolicy(
      FEAT_SPACE,
      {},
      space,
      layers=1,
      units=4,
      **kw,
      precision=Precision(),
      rngs=rngs,
    )
  )


def joint_of(policy, feat=FEAT):
  return policy(feat, given={}, mask={})


def test_every_action_has_the_head_of_its_kind():
  found = joint_of(make_policy()).outputs
  assert {k: type(v) for k, v in found.items()} == {
    'buttons': outputs.MultiCategorical,
    'jump': outputs.Categorical,
    'move': outputs.Independent,
  }
  assert {k: v.pred().shape for k, v in found.items()} == {
    k: (4, 6, *space.shape) for k, space in ACTIONS.items()
  }


def test_heads_can_be_chosen():
  heads = {
    'discrete': Choice(HEAD, 'categorical', unimix=0.3),
    'continuous': Choice(HEAD, 'normal_logstd'),
  }
  policy = make_policy({k: ACTIONS[k] for k in ('move', 'jump')}, **heads)
  steep = jax.tree.map(lambda x: 100 * x, FEAT)
  prob = jax.jit(lambda x: joint_of(policy, x).outputs['jump'].prob(0))(steep)
  # Three classes share 0.3.
  assert prob.min() >= 0.1 * (1 - 1e-5)
  assert joint_of(policy).outputs['move'].entropy_range() is None


def test_features_are_read_in_the_order_of_their_space():
  policy = make_policy()
  x = np.concatenate([FEAT['deter'], FEAT['stoch']], -1)
  expected = policy.heads['jump'](policy.mlp(x)).logits
  # A scan returns features in the order of the alphabet, or any other.
  turned = dict(reversed(FEAT.items()))
  for feat in (FEAT, turned):
    found = joint_of(policy, feat).outputs['jump'].logits
    np.testing.assert_array_equal(found, expected)


def test_samples_are_in_their_space_whatever_the_order():
  policy = make_policy()

  @jax.jit
  def draw(key):
    found = joint_of(policy)
    turned = type(found)(dict(reversed(found.outputs.items())))
    return found.sample(key), turned.sample(key)

  action, other = draw(jax.random.key(0))
  assert action.keys() == other.keys() == ACTIONS.keys()
  for name in ACTIONS:
    np.testing.assert_array_equal(action[name], other[name])
  assert set(np.unique(action['jump'])) == {0, 1, 2}
  assert set(np.unique(action['buttons'][..., 0])) == {0, 1}
  assert set(np.unique(action['buttons'][..., 1])) == {0, 1, 2, 3}


@pytest.mark.parametrize(
  ('kind', 'head', 'message'),
  [
    ('discrete', 'mse', r'head\.mse: needs a continuous space, got Discrete'),
    ('continuous', 'categorical', r'head\.categorical: needs a discrete space'),
  ],
)
def test_a_head_of_the_other_kind_is_refused(kind, head, message):
  actions = {'jump': ACTIONS['jump'], 'move': ACTIONS['move']}
  with pytest.raises(ValueError, match=message):
    make_policy(actions, **{kind: Choice(HEAD, head)})


def test_an_environment_with_masks_is_refused():
  policy = Choice(POLICY, 'mlp').at('config.behavior.actor_critic.policy')
  message = (
    'config.behavior.actor_critic.policy.mlp: this policy would ignore the '
    'observation mask/jump. Choose a policy that masks, `masked`, or leave'
  )
  with pytest.raises(UserError, match=re.escape(message)):
    policy(
      feat_space=FEAT_SPACE,
      obs_space={'mask/jump': gs.Box(0, 1, (3,), np.float32)},
      action_space={'jump': ACTIONS['jump']},
      precision=Precision(),
      rngs=nnx.Rngs(0),
    )
