"""Returns of imagined and replayed trajectories."""

import chex
import jax
import jax.numpy as jnp


def lambda_return(
  reward: jax.Array,
  term: jax.Array,
  last: jax.Array,
  boot: jax.Array,
  *,
  disc: float,
  lam: float,
) -> jax.Array:
  """Computes λ-returns.

    Rₜ = rₜ₊₁ + γₜ₊₁ ((1 - λₜ₊₁) vₜ₊₁ + λₜ₊₁ Rₜ₊₁),   R_H = v_H,
    γₜ = disc (1 - termₜ),   λₜ = lam (1 - lastₜ)

  Args:
    reward: (B, H+1), rₜ received on entering state t; entry 0 is unused.
    term: (B, H+1), probability that state t is terminal.
    last: (B, H+1), 1 where the trajectory is cut after state t.
    boot: (B, H+1), value vₜ in reward units.
    disc: Discount per step.
    lam: Mixing in [0, 1]; 0 is TD, 1 is Monte Carlo.

  Returns:
    (B, H) returns for t in [0, H), float32.

  Source: Hafner et al. 2025; danijar/dreamerv3 `agent.py:lambda_return`.
  """
  chex.assert_rank(reward, 2)
  chex.assert_equal_shape([reward, term, last, boot])
  live = (1 - term.astype(jnp.float32))[:, 1:] * disc
  mix = (1 - last.astype(jnp.float32))[:, 1:] * lam
  step_return = reward[:, 1:] + (1 - mix) * live * boot[:, 1:]

  def backward(after, inputs):
    step_return, decay = inputs
    now = step_return + decay * after
    return now, now

  # (B, H) to (H, B), and back.
  inputs = (step_return.T, (live * mix).T)
  _, returns = jax.lax.scan(backward, boot[:, -1], inputs, reverse=True)
  return returns.T
