"""Which arrays acting reads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx.behaviors.actor_critic import ActorCritic
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import BEHAVIOR, POLICY
from dreamer_nnx.training.layout import Layout, used_inputs
from tests.training import small

MASKED = small.OBS_SPACE | {
  'mask/action': gs.Box(0, 1, (3,), np.float32),
  'label/cost': gs.Box(-1, 1, (), np.float32),
}


@pytest.fixture(scope='module')
def layout():
  return Layout(small.make())


def test_acting_reads_encoder_posterior_and_policy_alone(layout):
  expected = {
    name
    for name in layout.shapes
    if name.startswith(('encoder/', 'dynamics/', 'behavior/policy/'))
    and not name.startswith('dynamics/prior/')
  }
  assert layout.acting == expected
  prefixes = {'/'.join(name.split('/')[:2]) for name in layout.acting}
  assert prefixes >= {'dynamics/core', 'dynamics/posterior', 'behavior/policy'}
  rest = {name.split('/')[0] for name in layout.shapes.keys() - layout.acting}
  assert rest == {'dynamics', 'decoder', 'reward', 'cont', 'behavior'}


def test_a_policy_that_masks_reads_no_more(layout):
  behavior = small.SMALL['behavior'].replace(
    policy=Choice(POLICY, 'masked', **small.MLP)
  )
  other = Layout(small.make(MASKED, behavior=behavior))
  assert other.acting == layout.acting
  assert set(other.observed(2)) == {*MASKED, 'is_first'}
  # The mask is read, and the label is for losses.
  assert other.observing == {'vector', 'mask/action', 'is_first'}
  assert layout.observing == {'vector', 'is_first'}


class ValuedBehavior(ActorCritic):
  """Acts where its value is above 0, in one mode."""

  def act(self, world, carry, feat, memory, obs, key, mode):
    action, memory, extra = super().act(
      world, carry, feat, memory, obs, key, mode
    )
    if mode == 'mode':
      positive = self.value(feat).pred() > 0
      action = {k: jnp.where(positive, x, 0) for k, x in action.items()}
    return action, memory, extra


def test_a_behaviour_that_reads_its_value_in_one_mode_gets_it(layout):
  choice = Choice(BEHAVIOR, f'{__name__}:ValuedBehavior')
  fields = small.SMALL['behavior'].differences
  other = Layout(small.make(behavior=choice.replace(**fields)))
  added = other.acting - layout.acting
  assert added == {k for k in other.shapes if k.startswith('behavior/value/')}


def used(function, *args):
  return used_inputs(jax.make_jaxpr(function)(*args).jaxpr)


def test_used_inputs_are_those_that_results_depend_on():
  assert used(lambda a, b, c: (a + 1, c * 2), 1.0, 2.0, 3.0) == [
    True,
    False,
    True,
  ]
  # Computed, and thrown away.
  assert used(lambda a, b: (b * 2, a)[1], 1.0, 2.0) == [True, False]
  # Handed on as it is.
  assert used(lambda a, b: b, 1.0, 2.0) == [False, True]
  assert used(lambda a: 1.0, 1.0) == [False]


def test_a_partial_agent_has_zeros_elsewhere(layout):
  arrays = {k: jnp.ones(layout.shapes[k].shape) for k in layout.acting}
  found = layout.flatten(layout.partial(arrays))
  for name, x in found.items():
    assert x.dtype == layout.shapes[name].dtype
    assert (x == (name in layout.acting)).all(), name


def test_spaces_and_signals_are_those_of_the_components(layout):
  assert layout.entry_space.keys() == {'deter', 'stoch'}
  assert layout.extra_space == {} and layout.context == 1
  assert layout.signals == ('model',) and layout.notes == ()
