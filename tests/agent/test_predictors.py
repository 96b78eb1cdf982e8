"""Trunks with one head, or one for each action."""

import jax
import numpy as np
import pytest
from dreamer_nnx.agent.predictors import Policy, Predictor, sample
from gymnasium import spaces as gs

from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.numerics import outputs
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import HEAD
from tests.filling import filled

ACTIONS = {
  'move': gs.Box(-1, 1, (2,), np.float32),
  'jump': gs.Discrete(3),
  'buttons': gs.MultiDiscrete([2, 4]),
}
X = np.random.default_rng(0).normal(size=(4, 6, 5)).astype(np.float32)


def make_policy(space=ACTIONS, **kw):
  return filled(
    lambda rngs: Policy(
      5, space, layers=1, units=4, **kw, precision=Precision(), rngs=rngs
    )
  )


def test_a_predictor_is_its_head_on_its_trunk():
  space = gs.Box(-np.inf, np.inf, (2,), np.float32)
  head = Choice(HEAD, 'mse')
  predictor = filled(
    lambda rngs: Predictor(
      5, space, layers=2, units=4, head=head, precision=Precision(), rngs=rngs
    )
  )
  expected = predictor.head(predictor.mlp(X)).pred()
  assert expected.shape == (4, 6, 2)
  np.testing.assert_array_equal(predictor(X).pred(), expected)


def test_every_action_has_the_head_of_its_kind():
  found = make_policy()(X)
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
  prob = jax.jit(lambda x: policy(x)['jump'].prob(0))(100 * X)
  # Three classes share 0.3.
  assert prob.min() >= 0.1 * (1 - 1e-5)
  assert policy(X)['move'].entropy_range() is None


def test_samples_are_in_their_space_whatever_the_order():
  policy = make_policy()

  @jax.jit
  def draw(key):
    found = policy(X)
    turned = dict(reversed(found.items()))
    return sample(found, key), sample(turned, key)

  action, other = draw(jax.random.key(0))
  assert action.keys() == other.keys() == ACTIONS.keys()
  for name in ACTIONS:
    np.testing.assert_array_equal(action[name], other[name])
  assert set(np.unique(action['jump'])) == {0, 1, 2}
  assert set(np.unique(action['buttons'][..., 0])) == {0, 1}
  assert set(np.unique(action['buttons'][..., 1])) == {0, 1, 2, 3}


def test_actions_are_drawn_apart():
  same = outputs.Categorical(np.zeros((1000, 2), np.float32))
  draw = jax.jit(lambda key: sample({'a': same, 'b': same}, key))
  action = draw(jax.random.key(0))
  equal = (np.asarray(action['a']) == np.asarray(action['b'])).mean()
  # Five standard deviations of a frequency.
  assert abs(equal - 0.5) < 5 * 0.5 / 1000**0.5


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
