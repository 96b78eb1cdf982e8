"""Adaptive gradient clipping by whole-tensor norms."""

import jax
import jax.numpy as jnp
import optax


def clip_by_agc(
  clip: float, pmin: float = 1e-3
) -> optax.GradientTransformation:
  """Scales each gradient by 1 / max(1, |g| / (clip · max(pmin, |p|))).

  Args:
    clip: Largest gradient norm relative to the parameter's; 0 never clips.
    pmin: Parameters count as at least this large.

  Returns:
    A stateless transformation that needs `params`.
  """
  if not clip:
    return optax.identity()

  def update(updates, state, params):
    def one(gradient, param):
      upper = clip * jnp.maximum(pmin, _norm(param))
      return gradient * (1 / jnp.maximum(1.0, _norm(gradient) / upper))

    return jax.tree.map(one, updates, params), state

  return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _norm(x: jax.Array) -> jax.Array:
  return jnp.sqrt(jnp.square(x).sum())
