"""The world model's losses on replayed sequences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx.agent import world_model
from dreamer_nnx.agent.settings import AgentOptions
from dreamer_nnx.numerics import outputs
from tests.agent.parts import make_agent, make_batch
from tests.filling import filled

FEATURES = np.float32([[[0.5, -1], [2, 1]]])
STEPS = {
  'reward': np.float32([[3, -2]]),
  'is_terminal': np.array([[False, True]]),
}


def reward(features):
  return outputs.MSE(features.sum(-1))


def cont(features):
  return outputs.Binary(features[..., 0])


@pytest.mark.parametrize(('contdisc', 'label'), [(True, 0.9), (False, 1.0)])
def test_continue_label_is_the_discount(contdisc, label):
  options = AgentOptions(horizon=10, contdisc=contdisc)
  losses = world_model.prediction_losses(reward, cont, FEATURES, STEPS, options)
  np.testing.assert_allclose(losses['rew'], [[12.25, 25]], rtol=1e-6)
  yes, no = (np.log(1 + np.exp(x)) for x in (-FEATURES, FEATURES))
  expected = [label * yes[0, 0, 0] + (1 - label) * no[0, 0, 0], no[0, 1, 0]]
  np.testing.assert_allclose(losses['con'][0], expected, rtol=1e-5)


@pytest.mark.parametrize('reward_grad', [True, False])
def test_reward_trains_the_features_if_asked(reward_grad):
  options = AgentOptions(reward_grad=reward_grad)

  def totals(features):
    found = world_model.prediction_losses(
      reward, cont, features, STEPS, options
    )
    return {name: x.sum() for name, x in found.items()}

  slopes = jax.jacrev(totals)(FEATURES)
  assert slopes['rew'].any() == reward_grad
  assert slopes['con'].any()


def test_images_are_compared_on_a_scale_of_one():
  space = {
    'image': gs.Box(0, 255, (2, 2, 1), np.uint8),
    'codes': gs.Box(0, 255, (2,), np.float32),
  }
  decoder = lambda latent: {
    'image': outputs.Independent(outputs.MSE(latent['deter']), 3),
    'codes': outputs.Independent(outputs.MSE(np.zeros((1, 1, 2))), 1),
  }
  steps = {
    'image': np.uint8([[[[[0], [51]], [[102], [255]]]]]),
    'codes': np.float32([[[3, 4]]]),
  }
  latents = {'deter': np.full((1, 1, 2, 2, 1), 0.5, np.float32)}
  losses = world_model.reconstruction_losses(decoder, space, latents, steps)
  expected = 0.25 + 0.09 + 0.01 + 0.25
  np.testing.assert_allclose(losses['image'], [[expected]], rtol=1e-5)
  np.testing.assert_array_equal(losses['codes'], [[25]])


def test_observations_are_encoded_and_filtered():
  agent, steps = filled(make_agent), make_batch(2, 3)
  latent = {'deter': jnp.ones((2, 2))}
  action, key = {'action': steps['action']}, jax.random.key(0)
  last, latents, tokens = world_model.observe(
    agent.encoder, agent.dynamics, latent, action, steps, key
  )
  np.testing.assert_array_equal(tokens, agent.encoder(steps))
  np.testing.assert_array_equal(last['deter'], latents['deter'][:, -1])
  expected = agent.dynamics.observe(
    latent, tokens, action, steps['is_first'], key
  )
  np.testing.assert_array_equal(latents['deter'], expected[1]['deter'])
