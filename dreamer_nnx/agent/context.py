"""Initial carry of a replayed batch, and the steps to train on."""

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp

from dreamer_nnx import contracts
from dreamer_nnx.contracts import CONSEC

Array = jax.Array
LATENT = 'latent/'


def apply_context(
  carry: Mapping[str, dict[str, Array]],
  batch: Mapping[str, Array],
  length: int,
  action_keys: Iterable[str],
) -> tuple[contracts.Latent, contracts.Action, dict[str, Array]]:
  """Splits a window into its context and the last `length` steps.

  The last of these context steps gives the initial latent, as replay stored
  it, and the previous action. Where `CONSEC` is positive, the sequence goes on
  from the one trained before and the carry's latent is used instead; so it is,
  with the carry's action, where there is no context.

  Args:
    carry: {'latent', 'action'} after the previous batch, (B, ...).
    batch: (B, context + T, ...) observations, flags, actions, `latent/*`; it
      may have `CONSEC` (B,), see `contracts.Replay`.
    length: T.
    action_keys: Keys of the batch that are actions.

  Returns:
    Latent (B, ...); previous actions (B, T, ...); the (B, T, ...) rest.

  Raises:
    ValueError: A window has fewer than T steps.
  """
  context = batch['is_first'].shape[1] - length
  if context < 0:
    raise ValueError(f'a window has {length + context} steps, not {length}.')
  actions = {key: batch[key] for key in action_keys}
  steps = {
    key: value[:, context:]
    for key, value in batch.items()
    if not key.startswith(LATENT) and key != CONSEC
  }
  if not context:
    # (B, ...) to (B, 1, ...), before the (B, T-1, ...) of all but the last.
    before = {
      key: jnp.concatenate([carry['action'][key][:, None], act[:, :-1]], 1)
      for key, act in actions.items()
    }
    return carry['latent'], before, steps
  before = {key: act[:, context - 1 : -1] for key, act in actions.items()}
  consec = batch.get(CONSEC, jnp.zeros(len(batch['is_first']), jnp.int32))
  latent = {
    name: _where(consec == 0, batch[LATENT + name][:, context - 1], value)
    for name, value in carry['latent'].items()
  }
  return latent, before, steps


def _where(condition: Array, x: Array, y: Array) -> Array:
  # (B,) -> (B, 1, ..., 1)
  condition = condition.reshape(-1, *[1] * (y.ndim - 1))
  return jnp.where(condition, x.astype(y.dtype), y)
