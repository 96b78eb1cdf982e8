"""Policy gradients on dreams."""

import jax
import jax.numpy as jnp

from dreamer_nnx import contracts
from dreamer_nnx.acting.critic import learned
from dreamer_nnx.contracts import Dream

sg = jax.lax.stop_gradient
Array = jax.Array


def reinforce(
  policy: contracts.Policy, dream: Dream, advantage: Array, actent: float
) -> tuple[Array, dict[str, Array]]:
  """Computes REINFORCE with an entropy bonus.

    -wₜ (log π(aₜ) sg(Â) + actent · entropy)

  Args:
    advantage: (N, H), normalised.
    actent: Weight of the entropy.

  Returns:
    Loss (N, H); metrics ent/<action>, rand/<action>.
  """
  joint = policy(dream.feat, given=spread(dream), mask=dream.mask)
  logp = joint.logp(dream.action)[:, :-1]
  ents = {key: x[:, :-1] for key, x in joint.entropy().items()}
  actor = logp * sg(advantage) + actent * sum(ents.values())
  return -dream.weight[:, :-1] * actor, _entropy_metrics(joint, ents)


def normalize_advantage(
  returns: Array,
  advantage: Array,
  retnorm: contracts.Normalizer,
  advnorm: contracts.Normalizer,
  update: bool,
) -> tuple[Array, dict[str, Array]]:
  """Scales advantages by the spread of returns, then by their own.

    Â = (A / scale(R) - offset(A)) / scale(A)

  Args:
    returns, advantage: (N, H).
    update: Whether the normalisers learn from them.
  """
  offset, scale = learned(retnorm, returns, update)
  adv = advantage / scale
  adv_offset, adv_scale = learned(advnorm, adv, update)
  metrics = _return_metrics((returns - offset) / scale, adv)
  return sg((adv - adv_offset) / adv_scale), metrics


def spread(dream: Dream) -> dict[str, Array]:
  """Repeats the constants (N, ...) of dreams for every state, (N, H+1, ...)."""
  count = dream.reward.shape[1]
  return {
    name: jnp.broadcast_to(x[:, None], (len(x), count, *x.shape[1:]))
    for name, x in dream.given.items()
  }


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
  joint: contracts.Joint, ents: dict[str, Array]
) -> dict[str, Array]:
  """Computes ent/<action>, and rand/<action> between its extremes, 0 to 1."""
  metrics = {f'ent/{key}': entropy.mean() for key, entropy in ents.items()}
  bounds = getattr(joint, 'entropy_range', dict)()
  for key, (low, high) in bounds.items():
    low, high = low.mean(), high.mean()
    # A single class has no range.
    width = jnp.where(high > low, high - low, 1.0)
    metrics[f'rand/{key}'] = (ents[key].mean() - low) / width
  return metrics
