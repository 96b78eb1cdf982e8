"""A complete agent of linear parts: small enough to follow by hand.

Observations are vectors of 3 numbers, actions one of 3 classes, latents and
features 2 numbers. Nothing but the policy is random.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.agent.build import untrained_copy
from dreamer_nnx.agent.settings import AgentOptions, LossScales, SlowValue
from dreamer_nnx.numerics import outputs
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import NORMALIZER

OBS_SPACE = {'vector': gs.Box(-np.inf, np.inf, (3,), np.float32)}
ACTION_SPACE = {'action': gs.Discrete(3)}


def weight(rngs, *shape):
  return nnx.Param(jax.random.normal(rngs.params(), shape))


class Encoder(nnx.Module):
  token_size = 2

  def __init__(self, rngs):
    self.kernel = weight(rngs, 3, 2)

  def __call__(self, obs):
    return obs['vector'] @ self.kernel[...]


class Dynamics(nnx.Module):
  """deter' = tanh(deter W + onehot(action) V + tokens)."""

  def __init__(self, rngs):
    self.latent_space = {'deter': (2,)}
    self.feature_size = 2
    self.recur, self.react = weight(rngs, 2, 2), weight(rngs, 3, 2)

  def initial(self, batch_size):
    return {'deter': jnp.zeros((batch_size, 2))}

  def features(self, latent):
    return latent['deter']

  def _next(self, deter, action, tokens, keep):
    action = jax.nn.one_hot(action['action'], 3) @ self.react[...]
    before = (deter @ self.recur[...] + action) * keep[..., None]
    return {'deter': jnp.tanh(before + tokens)}

  def step(self, latent, tokens, action, is_first, key):
    del key
    new = self._next(latent['deter'], action, tokens, ~is_first)
    return new | {'surprise': tokens}

  def observe(self, latent, tokens, action, is_first, key):
    steps = []
    for t in range(tokens.shape[1]):
      now = {'action': action['action'][:, t]}
      inputs = (tokens[:, t], now, is_first[:, t], key)
      steps.append(self.step(latent, *inputs))
      latent = {'deter': steps[-1]['deter']}
    return latent, stack(steps)

  def imagine(self, latent, policy, length, key):
    latents, actions = [], []
    for step_key in jax.random.split(key, length):
      actions.append(policy(jax.lax.stop_gradient(latent), step_key))
      latent = self._next(latent['deter'], actions[-1], 0, jnp.ones(1))
      latents.append(latent)
    return stack(latents), stack(actions)

  def predict(self, latent, action, key):
    turn = iter(range(action['action'].shape[1]))
    policy = lambda latent, key: {'action': action['action'][:, next(turn)]}
    length = action['action'].shape[1]
    latents, _ = self.imagine(latent, policy, length, key)
    return jax.tree.map(lambda x: x[:, -1], latents), latents

  def losses(self, latent):
    losses = {'dyn': jnp.square(latent['deter'] - latent['surprise']).sum(-1)}
    return losses, {'deter': jnp.abs(latent['deter']).mean()}


def stack(trees):
  return jax.tree.map(lambda *xs: jnp.stack(xs, 1), *trees)


class Decoder(nnx.Module):
  def __init__(self, rngs):
    self.kernel = weight(rngs, 2, 3)

  def __call__(self, latent):
    mean = outputs.MSE(latent['deter'] @ self.kernel[...])
    return {'vector': outputs.Independent(mean, 1)}


class Number(nnx.Module):
  """Features to an output of one number."""

  def __init__(self, rngs, output=outputs.MSE):
    self.kernel, self.output = weight(rngs, 2), output

  def __call__(self, features):
    return self.output(features @ self.kernel[...])


class Policy(nnx.Module):
  def __init__(self, rngs):
    self.kernel = weight(rngs, 2, 3)

  def __call__(self, features):
    return {'action': outputs.Categorical(features @ self.kernel[...])}


def make_agent(
  rngs: nnx.Rngs,
  *,
  encoder: type = Encoder,
  scales: LossScales | None = None,
  slow: SlowValue | None = None,
  retnorm: Choice = Choice(NORMALIZER, 'perc', limit=1.0, debias=False),
  valnorm: Choice = Choice(NORMALIZER, 'none'),
  advnorm: Choice = Choice(NORMALIZER, 'none'),
  **options,
) -> Agent:
  """An agent; see `filled` for parameters without a compiler."""
  value = Number(rngs)
  options = {'imag_length': 2, 'horizon': 10} | options
  return Agent(
    OBS_SPACE,
    ACTION_SPACE,
    encoder=encoder(rngs),
    dynamics=Dynamics(rngs),
    decoder=Decoder(rngs),
    reward=Number(rngs),
    cont=Number(rngs, outputs.Binary),
    policy=Policy(rngs),
    value=value,
    slow_value=untrained_copy(Number(rngs), value),
    retnorm=retnorm(),
    valnorm=valnorm(),
    advnorm=advnorm(),
    options=AgentOptions(**options),
    scales=scales or LossScales(),
    slow=slow or SlowValue(),
  )


def make_batch(batch: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
  """Steps (B, T) with a few starts and ends of episodes."""
  rng = np.random.default_rng(seed)
  flags = rng.random((2, batch, length)) < 0.25
  return {
    'vector': rng.normal(size=(batch, length, 3)).astype(np.float32),
    'action': rng.integers(0, 3, (batch, length)).astype(np.int32),
    'reward': rng.normal(1, 1, (batch, length)).astype(np.float32),
    'is_first': np.roll(flags[0], 1, 1),
    'is_last': flags[0],
    'is_terminal': flags[0] & flags[1],
  }
