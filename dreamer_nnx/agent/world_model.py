"""The world model's losses on replayed sequences."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from gymnasium import spaces as gym_spaces

from dreamer_nnx import contracts, spaces
from dreamer_nnx.agent.predictors import Predictor
from dreamer_nnx.agent.settings import AgentOptions

sg = jax.lax.stop_gradient
Array = jax.Array


def observe(
  encoder: contracts.Encoder,
  dynamics: contracts.Dynamics,
  latent: contracts.Latent,
  action: contracts.Action,
  steps: Mapping[str, Array],
  key: Array,
) -> tuple[contracts.Latent, contracts.Latent, Array]:
  """Filters a batch; returns last latent, (B, T) latents, (B, T, E) tokens."""
  with jax.named_scope('encode'):
    tokens = encoder(steps)
  with jax.named_scope('observe'):
    carry, latents = dynamics.observe(
      latent, tokens, action, steps['is_first'], key
    )
  return carry, latents, tokens


@jax.named_scope('decode')
def reconstruction_losses(
  decoder: contracts.Decoder,
  obs_space: Mapping[str, gym_spaces.Space],
  latents: contracts.Latent,
  steps: Mapping[str, Array],
) -> dict[str, Array]:
  """Computes -log p(observation) of every key, images against value / 255."""
  losses = {}
  for key, output in decoder(latents).items():
    target = steps[key]
    if spaces.is_image(obs_space[key]):
      target = target.astype(jnp.float32) / 255
    losses[key] = output.loss(sg(target))
  return losses


@jax.named_scope('predict')
def prediction_losses(
  reward: Predictor,
  cont: Predictor,
  features: Array,
  steps: Mapping[str, Array],
  options: AgentOptions,
) -> dict[str, Array]:
  """Computes losses of the reward, and of the probability of going on.

  The continue target is (1 - is_terminal), times 1 - 1/horizon with
  `contdisc`: a soft label.
  """
  inputs = features if options.reward_grad else sg(features)
  target = 1 - steps['is_terminal'].astype(jnp.float32)
  if options.contdisc:
    target *= 1 - 1 / options.horizon
  return {
    'rew': reward(inputs).loss(steps['reward']),
    'con': cont(features).loss(target),
  }
