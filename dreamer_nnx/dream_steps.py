"""Observing, imagining and decoding by an agent: functions to compile.

Letters: B rows, T steps, H imagined steps.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from dreamer_nnx import spaces, streams
from dreamer_nnx.acting.dream import Masks, joined, open_loop
from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.agent.context import shifted
from dreamer_nnx.agent.world_model import observations
from dreamer_nnx.interface import Lead
from dreamer_nnx.numerics.outputs import value


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LastState:
  """Ends of observed rows, for what goes on from there.

  Args:
    carry: Arrays of the dynamics, (B, ...).
    feat: Features (B, n) of the last step.
    action: Actions (B, ...) at the last step, as the agent has them.
    told: `label/*` and `mask/*` of the last step, (B, ...).
    lead: () of one row, (B,) of several.
  """

  carry: Any = dataclasses.field(repr=False)
  feat: dict[str, jax.Array] = dataclasses.field(repr=False)
  action: dict[str, jax.Array]
  told: dict[str, jax.Array]
  lead: Lead = dataclasses.field(metadata={'static': True})


def observe(agent: Agent, given, actions, begin, key):
  """Filters (B, T, ...); returns what is told of the steps, and their end."""
  dynamics, names = agent.dynamics, tuple(agent.action_space)
  if begin is None:
    empty = agent.initial(given['is_first'].shape[0])
    begin = empty['dynamics'], empty['action']
  carry, last = begin
  carry, observed = dynamics.observe(
    carry,
    agent.encoder(observations(given, names)),
    shifted(actions, last),
    given['is_first'],
    key,
  )
  ended = lambda tree: jax.tree.map(lambda x: x[:, -1], tree)
  marks = (spaces.LABEL, spaces.MASK)
  marked = {k: x for k, x in given.items() if k.startswith(marks)}
  feat = observed.feat
  return predicted(agent, feat), (
    carry,
    feat,
    (ended(feat), ended(actions), ended(marked)),
  )


def follow(agent: Agent, end: LastState, actions, key):
  """Imagines along actions (B, H, ...); the first leads to state 1."""
  feats = open_loop(agent.dynamics, end.carry, actions, key)
  feat = joined(end.feat, feats)
  return feat, predicted(agent, feat)


def dream(agent: Agent, end: LastState, key, *, length, mode):
  """Imagines H steps of the agent's behaviour."""
  rows = len(jax.tree.leaves(end.feat)[0])

  def step(state, key):
    carry, feat, memory, first = state
    given = told(agent, end.told, feat, first) | {'is_first': first}
    action, memory, _ = agent.behavior.act(
      agent.world, carry, feat, memory, given, streams.at(key, 'act'), mode
    )
    carry, feat = agent.dynamics.predict(
      carry, action, streams.at(key, 'predict')
    )
    return (carry, feat, memory, jnp.zeros_like(first)), (feat, action)

  memory, first = agent.behavior.initial(rows), jnp.ones(rows, bool)
  start = end.carry, end.feat, memory, first
  keys = jax.random.split(key, length)
  _, (feats, actions) = jax.lax.scan(step, start, keys)
  swap = lambda x: x.swapaxes(0, 1)
  feat = joined(end.feat, jax.tree.map(swap, feats))
  return feat, jax.tree.map(swap, actions), predicted(agent, feat)


def told(agent: Agent, start, feat, first):
  """Labels and masks of a dream; masks are predicted after its start.

  Args:
    start: Those of the state that it starts from, (B, ...).
  """
  masks = Masks(agent.world, spaces.masks(start)).of(feat, {'first': first})
  masks = {spaces.MASK + k: x.astype(jnp.float32) for k, x in masks.items()}
  return spaces.labels(start) | masks


def predicted(agent: Agent, feat):
  """Predicts rewards, probabilities of going on, and values if any."""
  critic = getattr(agent.behavior, 'critic', None)
  worth = critic and critic.denormalize(critic.value(feat).pred())
  return agent.reward(feat).pred(), agent.cont(feat).prob(1), worth


def watch(agent: Agent, carry, obs, key, count):
  """Observes a step of W environments as acting does, and shows the first.

  Args:
    carry: Of acting, before the step.
    key, count: As `Learner.policy` takes them.

  Returns:
    The carry of the dynamics after it (1, ...), and predicted observations.
  """
  key = jax.random.fold_in(key, count)
  latent, observed = agent.look(carry, obs, key)
  return jax.tree.map(lambda x: x[:1], latent), _shown(agent, observed.feat)


def dream_on(agent: Agent, latent, action, key, count):
  """Imagines what an action leads to (1, ...); returns what `watch` does."""
  key = jax.random.fold_in(key, count)
  latent, feat = agent.dynamics.predict(latent, action, key)
  return latent, _shown(agent, feat)


def _shown(agent: Agent, feat):
  """Predicts observations, without axes in front, of the first row."""
  rows = {key: x[:1, None] for key, x in feat.items()}
  told = jax.tree.map(lambda x: x[0, 0], decode(agent, rows))
  floats = lambda x: jnp.issubdtype(x.dtype, jnp.floating)
  return {k: x.astype(jnp.float32) if floats(x) else x for k, x in told.items()}


def decode(agent: Agent, feat):
  """Predicts observations; images (..., H, W, C) in [0, 255]."""
  outputs = agent.decoder(feat)
  result = {}
  for key, output in outputs.items():
    result[key] = value(output)
    if spaces.is_image(agent.obs_space[key]):
      pixels = jnp.round(jnp.clip(result[key], 0, 1) * 255)
      result[key] = pixels.astype(jnp.uint8)
  return result
