"""Learns to repeat the replayed actions that led to more reward."""

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import spaces
from dreamer_nnx.registry import Choice
from dreamer_nnx.schema import Weight
from dreamer_nnx.slots import BEHAVIOR, POLICY

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@BEHAVIOR.register('mine')
class Mine(nnx.Module):
  """Regression weighted by reward: no dreams, no critic.

    loss = -exp(r / temperature) log π(a)

  where r is the reward on entering the next step.

  Args:
    temperature: Rewards differ by as much where one weighs e times another.
    policy: Maps features to a distribution over actions.
  """

  def __init__(
    self,
    obs_space,
    action_space,
    feat_space,
    options,
    *,
    temperature: Weight = 1.0,
    policy: Choice = Choice(POLICY, 'mlp'),
    precision,
    rngs,
  ):
    del options
    self.temperature = temperature
    self.policy = policy(
      obs_space=obs_space,
      action_space=action_space,
      feat_space=feat_space,
      precision=precision,
      rngs=rngs,
    )
    # Nothing more of a step is stored, nor told to the selectors of replay.
    self.extra_space, self.signals = {}, ()

  def initial(self, batch_size):
    del batch_size
    return {}

  def act(self, world, carry, feat, memory, obs, key, mode):
    del world, carry
    joint = self.policy(feat, given=spaces.labels(obs), mask=spaces.masks(obs))
    action = joint.sample(key) if mode == 'sample' else joint.pred()
    return action, memory, {}

  def losses(self, replayed, rewards, key, update):
    del rewards, key, update
    steps = replayed.steps
    # The policy does not train the model.
    feat = jax.lax.stop_gradient(replayed.observed.feat)
    given, mask = spaces.labels(steps), spaces.masks(steps)
    joint = self.policy(feat, given=given, mask=mask)
    logp = joint.logp(replayed.action)[:, :-1]
    reward = steps['reward'][:, 1:]
    weight = jnp.exp(jnp.clip(reward / self.temperature, -10, 10))
    # Actions of last steps are ignored by the environment.
    weight *= ~steps['is_last'][:, :-1]
    return {'policy': -weight * logp}, {'weight': weight.mean()}, {}
