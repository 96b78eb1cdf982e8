"""A complete agent of linear parts: small enough to follow by hand.

Observations are vectors of 3 numbers, actions one of 3 classes, carries,
entries and features 2 numbers. Nothing but the policy is random.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx import contracts
from dreamer_nnx.acting.joint import Independent
from dreamer_nnx.acting.options import AgentOptions
from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.agent.settings import LossScales
from dreamer_nnx.behaviors.actor_critic import ActorCritic
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.slow_copy import SlowCopy
from dreamer_nnx.numerics import outputs
from dreamer_nnx.registry import Choice, Part
from dreamer_nnx.slots import NORMALIZER
from dreamer_nnx.weightings.fixed import Fixed

OBS_SPACE = {'vector': gs.Box(-np.inf, np.inf, (3,), np.float32)}
ACTION_SPACE = {'action': gs.Discrete(3)}
# Further observations, which are not encoded.
MASK = {'mask/action': gs.Box(0, 1, (3,), np.float32)}
LABEL = {'label/cost': gs.Box(-np.inf, np.inf, (), np.float32)}


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
    self.feat_space, self.context = {'deter': 2}, 1
    self.entry_space = {'deter': jax.ShapeDtypeStruct((2,), jnp.float32)}
    self.recur, self.react = weight(rngs, 2, 2), weight(rngs, 3, 2)

  def initial(self, batch_size):
    return {'deter': jnp.zeros((batch_size, 2))}

  def resume(self, context):
    return {'deter': context.entry['deter'][:, -1]}

  def _next(self, deter, action, tokens, keep):
    action = jax.nn.one_hot(action['action'], 3) @ self.react[...]
    before = (deter @ self.recur[...] + action) * keep[..., None]
    return {'deter': jnp.tanh(before + tokens)}

  def step(self, carry, tokens, action, is_first, key):
    del key
    new = self._next(carry['deter'], action, tokens, ~is_first)
    return new, contracts.Observed(new, new, {'surprise': tokens})

  def observe(self, carry, tokens, action, is_first, key):
    steps = []
    for t in range(tokens.shape[1]):
      now = {'action': action['action'][:, t]}
      inputs = (tokens[:, t], now, is_first[:, t], key)
      carry, observed = self.step(carry, *inputs)
      steps.append(observed)
    return carry, stack(steps)

  def predict(self, carry, action, key):
    del key
    carry = self._next(carry['deter'], action, 0, jnp.ones(1))
    return carry, carry

  def starts(self, carry, observed, count):
    del carry
    return {'deter': observed.feat['deter'][:, -count:].reshape(-1, 2)}

  def losses(self, observed):
    deter, surprise = observed.feat['deter'], observed.extra['surprise']
    losses = {'dyn': jnp.square(deter - surprise).sum(-1)}
    return losses, {'deter': jnp.abs(deter).mean()}


def stack(trees):
  return jax.tree.map(lambda *xs: jnp.stack(xs, 1), *trees)


class Decoder(nnx.Module):
  def __init__(self, rngs):
    self.kernel = weight(rngs, 2, 3)

  def __call__(self, feat):
    mean = outputs.MSE(feat['deter'] @ self.kernel[...])
    return {'vector': outputs.Independent(mean, 1)}


class Number(nnx.Module):
  """Features to an output of one number."""

  def __init__(self, rngs, output=outputs.MSE):
    self.kernel, self.output = weight(rngs, 2), output

  def __call__(self, feat):
    return self.output(feat['deter'] @ self.kernel[...])


class Policy(nnx.Module):
  """Linear logits; those of classes that the mask excludes are out."""

  def __init__(self, rngs):
    self.kernel = weight(rngs, 2, 3)

  def __call__(self, feat, *, given, mask):
    del given
    output = outputs.Categorical(feat['deter'] @ self.kernel[...])
    for allowed in mask.values():
      output = output.masked(allowed)
    return Independent({'action': output})


def make_agent(
  rngs: nnx.Rngs,
  *,
  encoder: type = Encoder,
  further: Mapping[str, gs.Space] | None = None,
  scales: LossScales | None = None,
  policy: Callable[..., nnx.Module] = Policy,
  slow: Part = Part(SlowCopy),
  retnorm: Choice = Choice(NORMALIZER, 'perc', limit=1.0, debias=False),
  valnorm: Choice = Choice(NORMALIZER, 'none'),
  advnorm: Choice = Choice(NORMALIZER, 'none'),
  objectives: Mapping[str, Any] | None = None,
  augmentations: Mapping[str, Any] | None = None,
  **options,
) -> Agent:
  """An agent; see `filled` for parameters without a compiler.

  Args:
    further: Spaces of observations that are not encoded.
    objectives, augmentations: Builders that are given the random streams.
  """
  obs_space = OBS_SPACE | dict(further or {})
  options = AgentOptions(**{'imag_length': 2, 'horizon': 10} | options)
  behavior = ActorCritic(
    obs_space=obs_space,
    action_space=ACTION_SPACE,
    feat_space={'deter': 2},
    options=options,
    policy=lambda rngs, **_: policy(rngs),
    value=lambda rngs, **_: Number(rngs),
    slow_value=slow,
    retnorm=retnorm,
    valnorm=valnorm,
    advnorm=advnorm,
    precision=Precision(),
    rngs=rngs,
  )
  built = lambda makers: {k: make(rngs) for k, make in (makers or {}).items()}
  return Agent(
    obs_space,
    ACTION_SPACE,
    encoder=encoder(rngs),
    dynamics=Dynamics(rngs),
    decoder=Decoder(rngs),
    reward=Number(rngs),
    cont=Number(rngs, outputs.Binary),
    behavior=behavior,
    objectives=built(objectives),
    weighting=Fixed(),
    augmentations=built(augmentations),
    options=options,
    scales=scales or LossScales(),
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
