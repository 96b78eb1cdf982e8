"""The world model's losses on replayed sequences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx.acting.options import AgentOptions
from dreamer_nnx.agent import world_model
from dreamer_nnx.agent.context import window
from dreamer_nnx.contracts import CONSEC, Observed, Replayed, World
from dreamer_nnx.numerics import outputs
from tests.agent.parts import make_agent, make_batch
from tests.filling import filled

FEATURES = np.float32([[[0.5, -1], [2, 1]]])
STEPS = {
  'reward': np.float32([[3, -2]]),
  'is_terminal': np.array([[False, True]]),
}


def reward(feat):
  return outputs.MSE(feat['x'].sum(-1))


def cont(feat):
  return outputs.Binary(feat['x'][..., 0])


def replayed_of(feat, steps):
  world = World(None, None, None, reward, cont, None)
  return Replayed(world, steps, {}, {}, {}, None, Observed(feat, feat), None)


@pytest.mark.parametrize(('contdisc', 'label'), [(True, 0.9), (False, 1.0)])
def test_continue_label_is_the_discount(contdisc, label):
  options = AgentOptions(horizon=10, contdisc=contdisc)
  replayed = replayed_of({'x': FEATURES}, STEPS)
  losses = world_model.prediction_losses(replayed, options)
  np.testing.assert_allclose(losses['rew'], [[12.25, 25]], rtol=1e-6)
  yes, no = (np.log(1 + np.exp(x)) for x in (-FEATURES, FEATURES))
  expected = [label * yes[0, 0, 0] + (1 - label) * no[0, 0, 0], no[0, 1, 0]]
  np.testing.assert_allclose(losses['con'][0], expected, rtol=1e-5)


@pytest.mark.parametrize('reward_grad', [True, False])
def test_reward_trains_the_features_if_asked(reward_grad):
  options = AgentOptions(reward_grad=reward_grad)

  def totals(features):
    replayed = replayed_of({'x': features}, STEPS)
    found = world_model.prediction_losses(replayed, options)
    return {name: x.sum() for name, x in found.items()}

  slopes = jax.jacrev(totals)(FEATURES)
  assert slopes['rew'].any() == reward_grad
  assert slopes['con'].any()


def test_images_are_compared_on_a_scale_of_one():
  space = {
    'image': gs.Box(0, 255, (2, 2, 1), np.uint8),
    'codes': gs.Box(0, 255, (2,), np.float32),
  }
  decoder = lambda feat: {
    'image': outputs.Independent(outputs.MSE(feat['x']), 3),
    'codes': outputs.Independent(outputs.MSE(np.zeros((1, 1, 2))), 1),
  }
  steps = {
    'image': np.uint8([[[[[0], [51]], [[102], [255]]]]]),
    'codes': np.float32([[[3, 4]]]),
  }
  feat = {'x': np.full((1, 1, 2, 2, 1), 0.5, np.float32)}
  replayed = replayed_of(feat, steps)
  losses = world_model.reconstruction_losses(decoder, space, replayed)
  expected = 0.25 + 0.09 + 0.01 + 0.25
  np.testing.assert_allclose(losses['image'], [[expected]], rtol=1e-5)
  np.testing.assert_array_equal(losses['codes'], [[25]])


KEY = jax.random.key(0)
LAST = {'action': np.array([2, 0], np.int32)}


@pytest.fixture(scope='module')
def agent():
  return filled(make_agent)


def observe(agent, batch, length=3, augmentations=None):
  carry = {'deter': jnp.ones((2, 2))}
  held = window(batch, length, ['action'])
  return world_model.observe(
    agent.world, augmentations or {}, held, carry, LAST, KEY
  )


def test_observations_are_encoded_and_filtered(agent):
  steps = make_batch(2, 3)
  end, replayed = observe(agent, steps)
  np.testing.assert_array_equal(replayed.tokens, agent.encoder(steps))
  feat = replayed.observed.feat['deter']
  np.testing.assert_array_equal(end['deter'], feat[:, -1])
  before = np.concatenate([LAST['action'][:, None], steps['action'][:, :-1]], 1)
  expected, observed = agent.dynamics.observe(
    {'deter': jnp.ones((2, 2))},
    replayed.tokens,
    {'action': before},
    steps['is_first'],
    KEY,
  )
  np.testing.assert_array_equal(feat, observed.feat['deter'])
  np.testing.assert_array_equal(end['deter'], expected['deter'])
  np.testing.assert_array_equal(replayed.before['action'], before)
  np.testing.assert_array_equal(replayed.action['action'], steps['action'])
  np.testing.assert_array_equal(replayed.carry['deter'], np.ones((2, 2)))


def test_the_steps_that_are_trained_on_come_after_the_context(agent):
  batch = make_batch(2, 5)
  entry = np.random.default_rng(1).normal(size=(2, 5, 2)).astype(np.float32)
  _, replayed = observe(agent, batch | {'latent/deter': entry})
  assert replayed.steps.keys() == batch.keys()
  for key, x in replayed.steps.items():
    np.testing.assert_array_equal(x, batch[key][:, 2:])
  np.testing.assert_array_equal(replayed.carry['deter'], entry[:, 1])
  np.testing.assert_array_equal(
    replayed.before['action'], batch['action'][:, 1:4]
  )


def test_rows_without_entries_are_as_at_the_start_of_an_episode(agent):
  batch = make_batch(2, 4) | {'is_first': np.zeros((2, 4), bool)}
  entry = np.ones((2, 4, 2), np.float32)
  consec = {CONSEC: np.int32([-1, 0])}
  _, found = observe(agent, batch | {'latent/deter': entry} | consec)
  begun = batch | {'is_first': np.eye(4, dtype=bool)[[1, 3]]}
  begun['is_first'][1] = False
  _, expected = observe(agent, begun | {'latent/deter': entry})
  np.testing.assert_array_equal(
    found.observed.feat['deter'], expected.observed.feat['deter']
  )
  np.testing.assert_array_equal(
    found.steps['is_first'], expected.steps['is_first']
  )


def test_flags_rewards_actions_and_what_is_not_encoded_stay_unseen():
  steps = make_batch(2, 3) | {
    'image': np.zeros((2, 3, 4, 4, 3), np.uint8),
    'label/cost': np.zeros((2, 3)),
    'mask/action': np.ones((2, 3, 3)),
    'acting/plan': np.zeros((2, 3, 2)),
    'log/score': np.zeros((2, 3)),
  }
  seen = world_model.observations(steps, ('action',))
  assert seen.keys() == {'vector', 'image'}


def double(inputs, key):
  return {k: 2 * x for k, x in inputs.items()}


def test_an_augmentation_changes_the_tokens_and_no_target(agent):
  batch = make_batch(2, 5) | {'latent/deter': np.ones((2, 5, 2), np.float32)}
  _, plain = observe(agent, batch)
  _, found = observe(agent, batch, augmentations={'double': double})
  np.testing.assert_allclose(found.tokens, 2 * plain.tokens, rtol=1e-6)
  vector = batch['vector'][:, 2:]
  np.testing.assert_array_equal(found.inputs['vector'], 2 * vector)
  np.testing.assert_array_equal(found.steps['vector'], vector)
  np.testing.assert_array_equal(plain.inputs['vector'], vector)


def test_augmentations_draw_apart(agent):
  seen = []

  def noise(inputs, key):
    seen.append(key)
    return inputs

  observe(agent, make_batch(2, 3), augmentations={'a': noise, 'b': noise})
  one, two = (jax.random.key_data(key) for key in seen)
  assert (one != two).any()


def test_the_context_is_encoded_as_it_is():
  seen = []

  class Encoder:
    token_size = 2

    def __call__(self, obs):
      seen.append(obs['vector'])
      return jnp.asarray(obs['vector'][..., :2])

  agent = filled(make_agent)
  agent.encoder = Encoder()
  batch = make_batch(2, 5) | {'latent/deter': np.ones((2, 5, 2), np.float32)}
  observe(agent, batch, augmentations={'double': double})
  assert [x.shape for x in seen] == [(2, 1, 3), (2, 3, 3)]
  np.testing.assert_array_equal(seen[0], batch['vector'][:, 1:2])
