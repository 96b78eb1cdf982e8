"""A whole agent is checked; the first message names what is wrong."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from dreamer_nnx.agent.checks import check_agent
from dreamer_nnx.errors import UserError
from dreamer_nnx.testing import agents, toys
from tests.testing import broken

SECTIONS = (
  'encoder',
  'dynamics',
  'decoder',
  'reward',
  'cont',
  'behavior',
  'objectives',
  'augmentations',
  'weighting',
)
PATHS = {name: f'config.{name}' for name in SECTIONS}
BUTTONS = toys.ACTIONS['discrete']


def check(**changes):
  def build():
    agent = agents.make_agent(toys.VECTORS, BUTTONS)
    for change in changes.values():
      change(agent)
    check_agent(agent, PATHS, jnp.float32)

  jax.eval_shape(lambda: build() and None)


def test_built_in_agent_passes():
  check()


def test_built_in_agent_of_images_passes():
  agent = agents.make_agent(toys.observations()['both'], toys.ACTIONS['both'])
  before = nnx.to_pure_dict(nnx.state(agent))
  check_agent(agent, PATHS, jnp.float32)
  after = nnx.to_pure_dict(nnx.state(agent))
  same = jax.tree.map(lambda x, y: x is y or (x == y).all(), before, after)
  assert all(jax.tree.leaves(same))


def test_encoder_is_named():
  def change(agent):
    agent.encoder.token_size += 1

  with pytest.raises(UserError, match=r'^config\.encoder: tokens of \(2,\)'):
    check(encoder=change)


def test_dynamics_are_named():
  def change(agent):
    agent.dynamics.feat_space = {'deter': 8, 'stoch': 5}

  with pytest.raises(UserError, match=r'^config\.dynamics: feat of `step`'):
    check(dynamics=change)


def test_policy_of_the_behavior_is_named():
  def change(agent):
    agent.behavior.policy = broken.OutputsByKey(
      agent.dynamics.feat_space,
      BUTTONS,
      precision=toys.FLOAT32,
      rngs=nnx.Rngs(0),
    )

  with pytest.raises(UserError, match=r'^config\.behavior\.policy: '):
    check(behavior=change)


def test_error_of_a_component_names_its_path():
  def change(agent):
    del agent.decoder

  with pytest.raises(AttributeError):
    check(decoder=change)

  def fail(agent):
    agent.decoder = lambda feat: feat['nothing']

  with pytest.raises(KeyError) as caught:
    check(decoder=fail)
  assert any('config.decoder' in note for note in caught.value.__notes__)
