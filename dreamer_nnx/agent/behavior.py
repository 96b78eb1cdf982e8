"""Actor and critic: losses on imagined and on replayed trajectories.

Letters: N = B * K starts, H imagined steps, F features.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from dreamer_nnx import contracts
from dreamer_nnx.agent.predictors import Policy, Predictor, sample
from dreamer_nnx.agent.settings import AgentOptions
from dreamer_nnx.numerics.returns import lambda_return

sg = jax.lax.stop_gradient
Array = jax.Array
Losses = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Critic:
  """The value, its slow copy, and the normaliser of their targets."""

  value: Predictor
  slow_value: Predictor
  valnorm: contracts.Normalizer

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


@jax.named_scope('imagine')
def imagine(
  dynamics: contracts.Dynamics,
  policy: Policy,
  starts: contracts.Latent,
  length: int,
  key: Array,
) -> tuple[Array, contracts.Action]:
  """Rolls the policy out from (N, ...) latents, without gradients.

  Returns:
    (N, H, F) features of the states after the starts, and (N, H+1, ...)
    actions from the starts on; the last is drawn at the last state.
  """
  roll_key, last_key = jax.random.split(key)
  # Or derivatives that nobody reads would be traced through the loop.
  dynamics, policy = sg(dynamics), sg(policy)

  def act(latent, key):
    return sample(policy(dynamics.features(latent)), key)

  latents, action = dynamics.imagine(sg(starts), act, length, roll_key)
  # The last of (N, H, ...) is (N, ...); its action (N, ...) is put behind.
  last = act({name: x[:, -1] for name, x in latents.items()}, last_key)
  action = {
    name: jnp.concatenate([x, last[name][:, None]], 1)
    for name, x in action.items()
  }
  return sg(dynamics.features(latents)), sg(action)


def imagination_losses(
  features: Array,
  action: contracts.Action,
  policy: Mapping[str, contracts.Output],
  reward: Array,
  cont: Array,
  critic: Critic,
  retnorm: contracts.Normalizer,
  advnorm: contracts.Normalizer,
  options: AgentOptions,
  update: bool,
) -> tuple[Losses, Array, dict[str, Array]]:
  """Computes REINFORCE for the policy and regression for the value.

    policy: -wₜ (log π(aₜ) sg(Â) + actent · entropy)
    value:   wₜ (loss(Rₜ) + slowreg · loss(slow valueₜ))

  Args:
    features: (N, H+1, F).
    action: (N, H+1, ...).
    policy: Outputs at `features`.
    reward, cont: (N, H+1) predictions.
    update: Whether the normalisers learn from these returns.

  Returns:
    Losses (N, H); λ-returns (N, H); metrics.
  """
  output = critic.value(features)
  slow = sg(critic.slow_value(features).pred())
  value, slow_value = (critic.denormalize(x) for x in (output.pred(), slow))
  target = slow_value if options.slowtar else value
  disc = 1.0 if options.contdisc else 1 - 1 / options.horizon
  weight = sg(jnp.cumprod(disc * cont, 1) / disc)
  returns = lambda_return(
    reward, 1 - cont, jnp.zeros_like(cont), target, disc=disc, lam=options.lam
  )
  returns = sg(returns)
  offset, scale = _learned(retnorm, returns, update)
  adv = (returns - sg(target[:, :-1])) / scale
  adv_offset, adv_scale = _learned(advnorm, adv, update)
  normed = sg((adv - adv_offset) / adv_scale)
  logp = sum(out.logp(action[key]) for key, out in policy.items())[:, :-1]
  ents = {key: out.entropy()[:, :-1] for key, out in policy.items()}
  actor = logp * normed + options.actent * sum(ents.values())
  val_offset, val_scale = _learned(critic.valnorm, returns, update)
  critic_loss = critic.losses(output, slow, returns, options.slowreg)
  losses = {
    'policy': -weight[:, :-1] * actor,
    'value': weight[:, :-1] * critic_loss,
  }
  metrics = _return_metrics((returns - offset) / scale, adv) | {
    'rew': reward.mean(),
    'con': cont.mean(),
    'val': value.mean(),
    'tar': ((returns - val_offset) / val_scale).mean(),
    'weight': weight.mean(),
    'slowval': slow_value.mean(),
  }
  return losses, returns, metrics | _entropy_metrics(policy, ents)


def replay_losses(
  features: Array,
  steps: Mapping[str, Array],
  boot: Array,
  critic: Critic,
  options: AgentOptions,
  update: bool,
) -> Losses:
  """Computes the value loss on replayed returns, with imagined ones behind.

  Args:
    features: (B, K, F), K > 1: a single state has no replayed return.
    steps: `reward`, `is_last`, `is_terminal`, (B, K).
    boot: (B, K), the first imagined return of each state.
    update: Whether `valnorm` learns from these returns.

  Returns:
    {'repval': (B, K-1)}.
  """
  output = critic.value(features)
  slow = sg(critic.slow_value(features).pred())
  returns = lambda_return(
    steps['reward'],
    steps['is_terminal'],
    steps['is_last'],
    sg(boot),
    disc=1 - 1 / options.horizon,
    lam=options.repval_lam,
  )
  _learned(critic.valnorm, returns, update)
  weight = 1 - steps['is_last'].astype(jnp.float32)
  loss = critic.losses(output, slow, returns, options.repval_slowreg)
  return {'repval': weight[:, :-1] * loss}


def _learned(
  norm: contracts.Normalizer, x: Array, update: bool
) -> tuple[Array | float, Array | float]:
  """Returns offset and scale; before that the normaliser may learn from x."""
  if update:
    norm.update(x)
  return norm.stats()


def _return_metrics(returns: Array, adv: Array) -> dict[str, Array]:
  return {
    'adv': adv.mean(),
    'adv_std': adv.std(),
    'adv_mag': jnp.abs(adv).mean(),
    'ret': returns.mean(),
    'ret_min': returns.min(),
    'ret_max': returns.max(),
    'ret_rate': (jnp.abs(returns) >= 1.0).mean(),
  }


def _entropy_metrics(
  policy: Mapping[str, contracts.Output], ents: Mapping[str, Array]
) -> dict[str, Array]:
  """Computes ent/<action>, and rand/<action> between its extremes, 0 to 1."""
  metrics = {}
  for key, output in policy.items():
    metrics[f'ent/{key}'] = ents[key].mean()
    bounds = getattr(output, 'entropy_range', lambda: None)()
    if bounds:
      low, high = (bound.mean() for bound in bounds)
      # A single class has no range.
      width = jnp.where(high > low, high - low, 1.0)
      metrics[f'rand/{key}'] = (ents[key].mean() - low) / width
  return metrics
