"""The world model on replayed sequences: what it observes, and its losses."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from dreamer_nnx import contracts, spaces, streams
from dreamer_nnx.acting.options import AgentOptions
from dreamer_nnx.agent.context import Window, begin
from dreamer_nnx.contracts import Replayed, World
from dreamer_nnx.spacetypes import Space

sg = jax.lax.stop_gradient
Array = jax.Array
# Losses of `prediction_losses`.
PREDICTED = ('rew', 'con')


def observe(
  world: World,
  augmentations: Mapping[str, contracts.Augmentation],
  window: Window,
  carry: contracts.Carry,
  last: contracts.Action,
  key: Array,
) -> tuple[contracts.Carry, Replayed]:
  """Filters a batch.

  Args:
    carry: Of the dynamics, after the batch before, (B, ...).
    last: Actions before the window, (B, ...).

  Returns:
    The carry after the batch, and the batch with what was observed.
  """
  steps, before = window.trained(), window.before(last)
  inputs = observations(steps, window.action_keys)
  with jax.named_scope('encode'):
    # In a context nothing is augmented, as it is not while acting.
    early = _context_tokens(world, window)
    for name, augment in augmentations.items():
      inputs = augment(inputs, streams.at(key, f'augmentations.{name}'))
    tokens = world.encoder(inputs)
  with jax.named_scope('observe'):
    start = begin(world.dynamics, window, carry, early)
    end, observed = world.dynamics.observe(
      start, tokens, before, steps['is_first'], streams.at(key, 'dynamics')
    )
  action = {name: steps[name] for name in window.action_keys}
  return end, Replayed(
    world, steps, inputs, before, action, tokens, observed, start
  )


def observations(
  steps: Mapping[str, Array], action_keys: tuple[str, ...]
) -> dict[str, Array]:
  """Selects what the encoder sees: neither flags, rewards nor actions."""
  other = (*spaces.RESERVED, *action_keys)
  return {
    key: x
    for key, x in spaces.encoded(steps).items()
    if key not in other and not key.startswith('acting/')
  }


def _context_tokens(world: World, window: Window) -> Array | None:
  """Encodes the steps that the dynamics resume from, if there are any."""
  size = min(world.dynamics.context, window.context)
  if not size:
    return None
  part = lambda x: x[:, window.context - size : window.context]
  steps = jax.tree.map(part, window.steps)
  return world.encoder(observations(steps, window.action_keys))


@jax.named_scope('decode')
def reconstruction_losses(
  decoder: contracts.Decoder,
  obs_space: Mapping[str, Space],
  replayed: Replayed,
) -> dict[str, Array]:
  """Computes -log p(observation) of every key, images against value / 255."""
  losses = {}
  for key, output in decoder(replayed.observed.feat).items():
    target = replayed.steps[key]
    if spaces.is_image(obs_space[key]):
      target = target.astype(jnp.float32) / 255
    losses[key] = output.loss(sg(target))
  return losses


@jax.named_scope('predict')
def prediction_losses(
  replayed: Replayed, options: AgentOptions
) -> dict[str, Array]:
  """Computes losses of the reward, and of the probability of going on.

  The continue target is (1 - is_terminal), times 1 - 1/horizon with
  `contdisc`: a soft label.
  """
  world, steps = replayed.world, replayed.steps
  feat = replayed.observed.feat
  target = 1 - steps['is_terminal'].astype(jnp.float32)
  if options.contdisc:
    target *= options.discount
  inputs = feat if options.reward_grad else sg(feat)
  losses = (
    world.reward(inputs).loss(steps['reward']),
    world.cont(feat).loss(target),
  )
  return dict(zip(PREDICTED, losses, strict=True))
