"""Actor and critic that learn in dreams: the behaviour of DreamerV3."""

from collections.abc import Callable, Mapping

import jax
from flax import nnx

from dreamer_nnx import contracts, spaces, spacetypes
from dreamer_nnx.acting.critic import Critic, Score
from dreamer_nnx.acting.dream import imagine, starting
from dreamer_nnx.acting.options import AgentOptions
from dreamer_nnx.acting.reinforce import normalize_advantage, reinforce
from dreamer_nnx.contracts import Dream, Replayed, World
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.predictor import Predictor
from dreamer_nnx.nn.slow_copy import SlowCopy
from dreamer_nnx.nn.statistics import normalizer
from dreamer_nnx.registry import Choice, Part
from dreamer_nnx.slots import BEHAVIOR, HEAD, NORMALIZER, POLICY
from dreamer_nnx.spacetypes import Space

sg = jax.lax.stop_gradient
Array = jax.Array
Rewards = Callable[[Dream, Array], Array]
VALUE = Part(
  Predictor, layers=3, head=Choice(HEAD, 'symexp_twohot', outscale=0.0)
)


@BEHAVIOR.register('actor_critic')
class ActorCritic(nnx.Module):
  """REINFORCE on λ-returns, and regression of a value on them.

  Args:
    policy: Maps features to a distribution over actions.
    value: Predicts expected returns from features.
    slow_value: A slow copy of the value, which regularises it.
    retnorm: Scales the returns in the policy's loss.
    valnorm: Scales the targets of the value.
    advnorm: Scales the advantages, after `retnorm`.

  Source: Hafner et al. 2025, arXiv 2301.04104.
  """

  def __init__(
    self,
    *,
    obs_space: Mapping[str, Space],
    action_space: Mapping[str, Space],
    feat_space: Mapping[str, int],
    options: AgentOptions,
    policy: Choice = Choice(POLICY, 'mlp'),
    value: Part = VALUE,
    slow_value: Part = Part(SlowCopy),
    retnorm: Choice = Choice(NORMALIZER, 'perc', limit=1.0, debias=False),
    valnorm: Choice = Choice(NORMALIZER, 'none'),
    advnorm: Choice = Choice(NORMALIZER, 'none'),
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    given = dict(feat_space=feat_space, precision=precision, rngs=rngs)
    self.options = options
    self.policy = policy(
      obs_space=obs_space, action_space=action_space, **given
    )
    self.value = value(space=spacetypes.scalar(), **given)
    self.slow_value = slow_value(source=self.value)
    self.retnorm, self.valnorm = normalizer(retnorm), normalizer(valnorm)
    self.advnorm = normalizer(advnorm)
    self.extra_space: dict[str, jax.ShapeDtypeStruct] = {}
    self.signals = ()

  @property
  def critic(self) -> Critic:
    return Critic(self.value, self.slow_value, self.valnorm, self.options)

  def initial(self, batch_size: int) -> contracts.Memory:
    """Makes an empty memory."""
    del batch_size
    return {}

  def act(
    self,
    world: World,
    carry: contracts.Carry,
    feat: contracts.Feat,
    memory: contracts.Memory,
    obs: contracts.Observation,
    key: Array,
    mode: str,
  ) -> tuple[contracts.Action, contracts.Memory, dict[str, Array]]:
    """Draws from the policy, or takes its most likely action."""
    del world, carry
    joint = self.policy(feat, given=spaces.labels(obs), mask=spaces.masks(obs))
    action = joint.sample(key) if mode == 'sample' else joint.pred()
    return action, memory, {}

  @jax.named_scope('behave')
  def losses(
    self, replayed: Replayed, rewards: Rewards, key: Array, update: bool
  ) -> tuple[contracts.Losses, contracts.Metrics, contracts.Signals]:
    """Computes `policy`, `value` (B, K), and `repval` (B, K-1)."""
    options, critic = self.options, self.critic
    dream = imagine(replayed, self.policy, options, key)
    score = critic.score(dream, rewards(dream, key), update)
    advantage, more, metrics = self.advantage(replayed, dream, score, update)
    normed, mets = normalize_advantage(
      score.returns, advantage, self.retnorm, self.advnorm, update
    )
    loss, ents = reinforce(self.policy, dream, normed, options.actent)
    # (N, H) to (N,), and to (B, K).
    shape = len(replayed.steps['is_first']), starting(replayed, options)
    losses = {'policy': loss, 'value': score.loss}
    losses = {k: x.mean(1).reshape(shape) for k, x in losses.items()} | more
    # (N, H) to (N,), and to (B, K).
    boot = score.returns[:, 0].reshape(shape)
    losses |= critic.replay_losses(replayed, boot, update)
    return losses, metrics | mets | score.metrics | ents, {}

  def advantage(
    self, replayed: Replayed, dream: Dream, score: Score, update: bool
  ) -> tuple[Array, contracts.Losses, contracts.Metrics]:
    """Returns advantages (N, H) of the policy, and further losses."""
    del replayed, dream, update
    return score.advantage, {}, {}

  def after_update(self, world: World, updates: Array) -> None:
    """Moves the slow value towards the value."""
    del world
    self.slow_value.follow(self.value, updates)
