"""The critic: scores dreams, and learns from them and from replay.

Letters: N = B * K starts, H imagined steps.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from dreamer_nnx import contracts
from dreamer_nnx.acting.options import AgentOptions
from dreamer_nnx.contracts import Dream, Replayed
from dreamer_nnx.numerics.returns import lambda_return

sg = jax.lax.stop_gradient
Array = jax.Array
Value = Callable[[contracts.Feat], contracts.Output]


@dataclasses.dataclass(frozen=True)
class Score:
  """Verdict on dreams.

  Args:
    returns: λ-returns (N, H).
    advantage: Returns minus the predicted ones, (N, H), in reward units.
    loss: Of the value, (N, H), weighted.
    metrics: Scalars.
  """

  returns: Array
  advantage: Array
  loss: Array
  metrics: dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Critic:
  """A value, its slow copy, and the normaliser of their targets."""

  value: Value
  slow_value: Value
  valnorm: contracts.Normalizer
  options: AgentOptions

  def score(self, dream: Dream, reward: Array, update: bool) -> Score:
    """Computes returns, advantages and the loss of the value.

      loss = wₜ (loss(Rₜ) + slowreg · loss(slow valueₜ))

    Args:
      reward: (N, H+1), see `contracts.Objective`.
      update: Whether `valnorm` learns from these returns.
    """
    options = self.options
    output = self.value(dream.feat)
    slow = sg(self.slow_value(dream.feat).pred())
    value, slow_value = (self.denormalize(x) for x in (output.pred(), slow))
    target = slow_value if options.slowtar else value
    returns = lambda_return(
      reward,
      1 - dream.cont,
      jnp.zeros_like(dream.cont),
      target,
      disc=1.0 if options.contdisc else options.discount,
      lam=options.lam,
    )
    returns = sg(returns)
    offset, scale = learned(self.valnorm, returns, update)
    loss = self.losses(output, slow, returns, options.slowreg)
    metrics = {
      'rew': reward.mean(),
      'con': dream.cont.mean(),
      'val': value.mean(),
      'tar': ((returns - offset) / scale).mean(),
      'weight': dream.weight.mean(),
      'slowval': slow_value.mean(),
    }
    advantage = returns - sg(target[:, :-1])
    return Score(returns, advantage, dream.weight[:, :-1] * loss, metrics)

  def replay_losses(
    self, replayed: Replayed, boot: Array, update: bool
  ) -> contracts.Losses:
    """Computes the loss on replayed returns of the last K steps, if there is.

    Args:
      boot: (B, K), the first imagined return of each state.

    Returns:
      {'repval': (B, K-1)}, or nothing without `repval_loss` or of one step.
    """
    options, count = self.options, boot.shape[1]
    if not options.repval_loss or count < 2:
      return {}
    recent = lambda x: x[:, -count:]
    feat = jax.tree.map(recent, replayed.observed.feat)
    flags = ('reward', 'is_last', 'is_terminal')
    steps = {k: recent(replayed.steps[k]) for k in flags}
    # Not in place: outside of a compiled function this is the caller's array.
    steps['reward'] = options.extrinsic_scale * steps['reward']
    feat = feat if options.repval_grad else sg(feat)
    return {'repval': self.replay_loss(feat, steps, boot, update)}

  def replay_loss(
    self,
    feat: contracts.Feat,
    steps: Mapping[str, Array],
    boot: Array,
    update: bool,
  ) -> Array:
    """Computes the value loss on replayed returns, with imagined ones behind.

    Args:
      feat: (B, K, n), K > 1: a single state has no replayed return.
      steps: `reward`, `is_last`, `is_terminal`, (B, K).
      boot: (B, K), the first imagined return of each state.
      update: Whether `valnorm` learns from these returns.

    Returns:
      (B, K-1).
    """
    options = self.options
    output = self.value(feat)
    slow = sg(self.slow_value(feat).pred())
    returns = lambda_return(
      steps['reward'],
      steps['is_terminal'],
      steps['is_last'],
      sg(boot),
      disc=options.discount,
      lam=options.repval_lam,
    )
    learned(self.valnorm, returns, update)
    weight = 1 - steps['is_last'].astype(jnp.float32)
    loss = self.losses(output, slow, returns, options.repval_slowreg)
    return weight[:, :-1] * loss

  def losses(
    self, output: contracts.Output, slow: Array, returns: Array, slowreg: float
  ) -> Array:
    """Computes the loss to normalised returns and to the slow value.

    Args:
      output: Output of the value at (N, H+1) states.
      slow: (N, H+1) predictions of the slow value.
      returns: (N, H).
      slowreg: Weight of the second.

    Returns:
      (N, H).
    """
    offset, scale = self.valnorm.stats()
    target = jnp.pad((returns - offset) / scale, [(0, 0), (0, 1)])
    loss = output.loss(sg(target)) + slowreg * output.loss(sg(slow))
    return loss[:, :-1]

  def denormalize(self, prediction: Array) -> Array:
    """Turns predictions into reward units."""
    offset, scale = self.valnorm.stats()
    return prediction * scale + offset


def learned(
  norm: contracts.Normalizer, x: Array, update: bool
) -> tuple[Array | float, Array | float]:
  """Returns offset and scale; before that the normaliser may learn from x."""
  if update:
    norm.update(x)
  return norm.stats()
