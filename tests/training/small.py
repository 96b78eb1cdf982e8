"""A default agent of a few units, on vectors and discrete actions."""

import functools

import jax
import numpy as np
import optax
from gymnasium import spaces as gs

from dreamer_nnx.acting.options import AgentOptions
from dreamer_nnx.agent.build import CONTINUE, REWARD, build
from dreamer_nnx.behaviors.actor_critic import VALUE
from dreamer_nnx.registry import Choice, Part
from dreamer_nnx.slots import (
  BEHAVIOR,
  DECODER,
  DYNAMICS,
  ENCODER,
  POLICY,
  STOCHASTIC,
)
from dreamer_nnx.training.pure import Pure

B, T = 2, 3
OBS_SPACE = {'vector': gs.Box(-np.inf, np.inf, (3,), np.float32)}
ACTION_SPACE = {'action': gs.Discrete(3)}
MLP = dict(units=4, layers=1)
SMALL = dict(
  encoder=Choice(ENCODER, 'simple', **MLP),
  decoder=Choice(DECODER, 'simple', **MLP),
  dynamics=Choice(
    DYNAMICS,
    'rssm',
    deter=4,
    hidden=4,
    blocks=2,
    stochastic=Choice(STOCHASTIC, 'categorical', stoch=2, classes=3),
  ),
  reward=REWARD.replace(units=4),
  cont=CONTINUE.replace(units=4),
  behavior=Choice(
    BEHAVIOR,
    'actor_critic',
    policy=Choice(POLICY, 'mlp', **MLP),
    value=VALUE.replace(**MLP),
  ),
  agent=Part(AgentOptions, imag_length=2),
)


def make(obs_space=OBS_SPACE, **kw):
  """A function of random streams that makes the agent."""
  return functools.partial(_build, obs_space, SMALL | kw)


def _build(obs_space, parts, rngs):
  return build(obs_space, ACTION_SPACE, rngs=rngs, **parts)


def make_pure(obs_space=OBS_SPACE, optimizer=None, **kw) -> Pure:
  optimizer = optimizer or optax.sgd(0.1)
  return Pure(make(obs_space, **kw), optimizer, batch_length=T)


def batch_of(seed=0, context=1, classes=3):
  """Steps (B, context + T), with entries of the RSSM."""
  rng = np.random.default_rng(seed)
  shape = B, context + T
  return {
    'vector': rng.normal(size=(*shape, 3)).astype(np.float32),
    'action': rng.integers(0, 3, shape).astype(np.int32),
    'reward': rng.normal(size=shape).astype(np.float32),
    'is_first': rng.random(shape) < 0.2,
    'is_last': np.zeros(shape, bool),
    'is_terminal': np.zeros(shape, bool),
    'latent/deter': rng.normal(size=(*shape, 4)).astype(np.float32),
    'latent/stoch': rng.integers(0, classes, (*shape, 2)).astype(np.uint8),
  }


def keys(seed: int) -> tuple[jax.Array, jax.Array]:
  """Keys of the initial parameters, and of the updates."""
  key = jax.random.key(seed)
  return jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
