"""Actor and critic that keep a cost below a limit."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts, spaces, spacetypes
from dreamer_nnx.acting.critic import Critic, Score
from dreamer_nnx.acting.dream import starting
from dreamer_nnx.behaviors.actor_critic import VALUE, ActorCritic
from dreamer_nnx.contracts import Dream, Replayed, World
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.predictor import Predictor
from dreamer_nnx.nn.slow_copy import SlowCopy
from dreamer_nnx.nn.statistics import normalizer
from dreamer_nnx.registry import Choice, Part
from dreamer_nnx.schema import Epsilon, Weight
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import BEHAVIOR, HEAD, NORMALIZER
from dreamer_nnx.spacetypes import Space

sg = jax.lax.stop_gradient
Array = jax.Array
COST = Part(
  Predictor, layers=1, head=Choice(HEAD, 'symexp_twohot', outscale=0.0)
)
KEY = spaces.LABEL + 'cost'


class Multiplier(nnx.Variable):
  """A Lagrangian multiplier, at least 0."""


@BEHAVIOR.register('constrained')
class Constrained(ActorCritic):
  """Actor and critic with a limit on the discounted cost `label/cost`.

    A = (A_reward - μ A_cost) / (1 + μ)
    μ' = min(max(0, μ + rate · (mean R_cost - limit)), highest)

  R_cost is the imagined λ-return of the cost from replayed states. The cost
  trains its own predictors alone, so that without a limit all else learns as
  without a cost.

  Args:
    limit: Allowed discounted cost to come; infinite for any.
    rate: Movement of the multiplier in an update, per unit of excess cost.
    highest: Upper bound of the multiplier μ.
    cost: Predicts the cost of a step from features.
    cost_value: Predicts the discounted cost to come from features.
    cost_slow: A slow copy of `cost_value`, which regularises it.
    cost_norm: Scales the targets of `cost_value`.

  Raises:
    UserError: The environment does not observe `label/cost`, one number.

  Source: SafeDreamer, Huang et al. 2024, arXiv 2307.07176.
  """

  @takes(ActorCritic)
  def __init__(
    self,
    *,
    obs_space: Mapping[str, Space],
    feat_space: Mapping[str, int],
    limit: Weight = float('inf'),
    rate: Epsilon = 0.01,
    highest: Weight = 1000.0,
    cost: Part = COST,
    cost_value: Part = VALUE,
    cost_slow: Part = Part(SlowCopy),
    cost_norm: Choice = Choice(NORMALIZER, 'none'),
    precision: Precision,
    rngs: nnx.Rngs,
    **actor_critic,
  ):
    if KEY not in obs_space or obs_space[KEY].shape not in ((), (1,)):
      raise UserError(f'the environment must observe {KEY!r}, one number.')
    given = dict(feat_space=feat_space, precision=precision, rngs=rngs)
    super().__init__(obs_space=obs_space, **given, **actor_critic)
    self.limit, self.rate, self.highest = limit, rate, highest
    self.multiplier = Multiplier(jnp.zeros(()))
    self.cost = cost(space=spacetypes.scalar(), **given)
    self.cost_value = cost_value(space=spacetypes.scalar(), **given)
    self.cost_slow = cost_slow(source=self.cost_value)
    self.cost_norm = normalizer(cost_norm)

  @property
  def cost_critic(self) -> Critic:
    norm = self.cost_norm
    return Critic(self.cost_value, self.cost_slow, norm, self.options)

  def advantage(
    self, replayed: Replayed, dream: Dream, score: Score, update: bool
  ) -> tuple[Array, contracts.Losses, contracts.Metrics]:
    """Returns advantages with the cost, and the losses of its predictors."""
    dream = sg(dream)
    found = self.cost_critic.score(
      dream, sg(self.cost(dream.feat).pred()), update
    )
    # (N, H) to (B, K).
    shape = len(replayed.tokens), starting(replayed, self.options)
    true = replayed.steps[KEY].reshape(replayed.tokens.shape[:2])
    losses = {
      'cost': self.cost(sg(replayed.observed.feat)).loss(true),
      'cost_value': found.loss.mean(1).reshape(shape),
    }
    expected = found.returns[:, 0].mean()
    if update:
      self._move(expected)
    weight = self.multiplier[...]
    advantage = (score.advantage - weight * found.advantage) / (1 + weight)
    metrics = {'cost/expected': expected, 'cost/multiplier': weight}
    return advantage, losses, metrics

  def after_update(self, world: World, updates: Array) -> None:
    """Moves the slow copies towards their sources."""
    super().after_update(world, updates)
    self.cost_slow.follow(self.cost_value, updates)

  def _move(self, expected: Array) -> None:
    moved = self.multiplier[...] + self.rate * (sg(expected) - self.limit)
    self.multiplier[...] = jnp.clip(moved, 0, self.highest)
