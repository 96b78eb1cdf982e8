"""Planning by the cross-entropy method in the world model."""

from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp

from dreamer_nnx import contracts, spaces, streams
from dreamer_nnx.acting.dream import open_loop
from dreamer_nnx.behaviors.actor_critic import ActorCritic
from dreamer_nnx.behaviors.plans import (
  Actions,
  Plan,
  Planner,
  masked,
  restarted,
  shifted,
)
from dreamer_nnx.contracts import World
from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import Count, Epsilon, Range
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import BEHAVIOR
from dreamer_nnx.spacetypes import Space

Array = jax.Array


@BEHAVIOR.register('cem')
class CEM(ActorCritic):
  """Actions of plans that the world model scores best; learns as actor-critic.

  Each of `iterations` draws plans of H actions, scores them by

    Σ_t disc^(t-1) w_t reward_t + disc^H w_H value_H,   w_t = Π_{s<t} cont_s

  and fits the distribution of plans to the elites: mean and deviation of
  continuous actions, frequencies of classes. The memory is the plan of the step
  before, moved on by one step.

  Args:
    length: H, actions of a plan.
    plans: Plans that each iteration draws.
    elites: Best plans, to which the distribution is fitted; at most `plans`.
    iterations: Rounds of drawing and fitting.
    lowest: Lower bound of the standard deviation of continuous actions.

  Raises:
    UserError: There are fewer plans than elites.

  Source: PlaNet, Hafner et al. 2019, arXiv 1811.04551.
  """

  @takes(ActorCritic)
  def __init__(
    self,
    *,
    action_space: Mapping[str, Space],
    length: Count = 8,
    plans: Annotated[int, Range(2)] = 64,
    elites: Count = 8,
    iterations: Count = 4,
    lowest: Epsilon = 0.05,
    **actor_critic,
  ):
    if elites > plans:
      raise UserError(f'must be at most plans, {plans}.', 'elites', elites)
    super().__init__(action_space=action_space, **actor_critic)
    self.planner = Planner(dict(action_space), lowest)
    self.length, self.plans, self.elites = length, plans, elites
    self.iterations = iterations

  def initial(self, batch_size: int) -> Plan:
    """Makes plans that are as likely as any."""
    return self.planner.fresh(batch_size, self.length)

  def act(
    self,
    world: World,
    carry: contracts.Carry,
    feat: contracts.Feat,
    memory: Plan,
    obs: contracts.Observation,
    key: Array,
    mode: str,
  ) -> tuple[contracts.Action, Plan, dict[str, Array]]:
    """Plans anew from the last plan; takes the first action of the result."""
    del feat
    planner, first = self.planner, obs['is_first']
    rows, masks = first.shape[0], spaces.masks(obs)
    fresh = self.initial(rows)
    plan = masked(restarted(memory, fresh, first), masks)
    # (W, ...) to (W P, ...).
    many = jax.tree.map(lambda x: jnp.repeat(x, self.plans, 0), carry)
    for i in range(self.iterations):
      turn = streams.at(key, f'iterations.{i}')
      actions = planner.draw(plan, self.plans, turn)
      scores = self.score(world, many, actions, streams.at(turn, 'predict'))
      # (W P,) to (W, P), and to (W, E).
      _, best = jax.lax.top_k(scores.reshape(rows, -1), self.elites)
      plan = masked(planner.fit(actions, best), masks)
    drawn = planner.draw(plan, 1, streams.at(key, 'act'))
    action = drawn if mode == 'sample' else planner.likely(plan)
    return {k: x[:, 0] for k, x in action.items()}, shifted(plan, fresh), {}

  def score(
    self, world: World, carry: contracts.Carry, actions: Actions, key: Array
  ) -> Array:
    """Returns the expected return (N,) of actions (N, H, ...)."""
    feat = open_loop(world.dynamics, carry, actions, key)
    disc = 1.0 if self.options.contdisc else self.options.discount
    weight = jnp.cumprod(disc * world.cont(feat).prob(1), 1)
    before = jnp.concatenate([jnp.ones_like(weight[:, :1]), weight[:, :-1]], 1)
    last = jax.tree.map(lambda x: x[:, -1], feat)
    value = self.critic.denormalize(self.value(last).pred())
    reward = self.options.extrinsic_scale * world.reward(feat).pred()
    return (before * reward).sum(1) + weight[:, -1] * value
