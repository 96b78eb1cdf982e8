"""Whole agents at toy size, around a component that is checked."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import checks, contracts, spaces
from dreamer_nnx import config as configs
from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.agent.build import build
from dreamer_nnx.registry import Choice, fields
from dreamer_nnx.slots import BEHAVIOR, POLICY
from dreamer_nnx.testing import toys
from dreamer_nnx.testing.broken import expect
from dreamer_nnx.testing.live import program_of

ROWS, LENGTH = toys.ROWS, 3
# Sizes at which everything built in is compiled in seconds.
SIZES = {
  '**.units': 8,
  '**.layers': 1,
  '**.depth': 2,
  'encoder.simple.mults': (1, 1),
  'encoder.resnet.mults': (1,),
  'encoder.*.blocks': 1,
  'encoder.vit.heads': 2,
  'decoder.simple.mults': (1, 1),
  'decoder.resnet.mults': (1,),
  'decoder.resnet.blocks': 1,
  'decoder.*.bspace': 2,
  'dynamics.*.deter': 8,
  'dynamics.*.hidden': 8,
  'dynamics.*.state': 4,
  'dynamics.*.heads': 2,
  'dynamics.*.window': 4,
  'dynamics.*.horizon': 2,
  'dynamics.**.stoch': 2,
  'dynamics.**.classes': 3,
  'dynamics.rssm.blocks': 2,
  'behavior.cem.length': 2,
  'behavior.cem.plans': 4,
  'behavior.cem.elites': 2,
  'behavior.cem.iterations': 1,
  'agent.imag_length': 2,
  'agent.imag_last': 2,
}


@functools.cache
def _parts() -> dict[str, Any]:
  config = configs.base()
  configs.apply(config, SIZES)
  bound = configs.bind_all(config)
  return {name: bound[name] for name in fields(build)}


def make_agent(
  obs_space: toys.Spaces,
  action_space: toys.Spaces,
  rngs: nnx.Rngs | None = None,
  **parts: Any,
) -> Agent:
  """An agent of small built-in components, but for the parts named.

  Where masks are observed its policy is one that masks.
  """
  rngs = rngs or nnx.Rngs(0)
  if spaces.masked(obs_space) and 'behavior' not in parts:
    policy = Choice(POLICY, 'masked', units=8, layers=1)
    behavior = Choice(BEHAVIOR, 'actor_critic', policy=policy)
    parts = parts | {'behavior': behavior}
  return build(obs_space, action_space, **(_parts() | parts), rngs=rngs)


def batch_of(agent: Agent, seed: int = 0) -> dict[str, jax.Array]:
  """A replayed batch (B, context + T, ...)."""
  lead = (ROWS, agent.dynamics.context + LENGTH)
  batch = toys.values(spaces.stored(agent.obs_space), lead, seed)
  batch |= toys.values(agent.action_space, lead, seed)
  stored = {'latent/': agent.dynamics.entry_space}
  stored['acting/'] = agent.behavior.extra_space
  for prefix, space in stored.items():
    for key, s in space.items():
      batch[prefix + key] = jnp.zeros((*lead, *s.shape), s.dtype)
  flag = jnp.zeros(lead, bool)
  batch |= {key: flag for key in ('is_first', 'is_last', 'is_terminal')}
  return batch | {'reward': toys.floats(lead, seed)}


def loss_of(agent: Agent, batch: Mapping[str, jax.Array]) -> Any:
  """The total loss of an agent, and its parts by name."""
  loss, aux = _losses(agent, batch)
  return loss, {'losses': aux['losses'], 'metrics': aux['metrics']}


def replayed_of(
  agent: Agent, batch: Mapping[str, jax.Array]
) -> contracts.Replayed:
  """The batch after `observe`."""
  return _losses(agent, batch)[1]['replayed']


def _losses(agent: Agent, batch: Mapping[str, jax.Array]) -> tuple:
  key = jax.random.key(0)
  return agent.loss(agent.initial(ROWS), batch, key, length=LENGTH)


def seen_of(agent: Agent, dtype: Any) -> checks.Seen:
  """Shapes of what the dynamics of an agent return."""
  size, path = agent.encoder.token_size, 'config.dynamics'
  return checks.check_dynamics(
    agent.dynamics, size, agent.action_space, dtype, path
  )


def expect_left_out(
  component: str, with_it: Callable[[], Agent], without: Callable[[], Agent]
) -> None:
  """Compares the programs of the losses of agents."""
  loss = lambda agent: loss_of(agent, batch_of(agent))[0]
  same = program_of(with_it, loss) == program_of(without, loss)
  promise = 'with scale 0 nothing else changes'
  expect(component, same, promise, 'another loss is computed')
