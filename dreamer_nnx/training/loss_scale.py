"""Dynamic scaling of the loss, for float16, in which gradients overflow.

An update whose gradients overflow is skipped and halves the scale.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

Array = jax.Array
FIRST, SMALLEST, LARGEST = 1e4, 1e-4, 1e5
# Good updates after which the scale is doubled, and bad ones without hope.
GOOD, BAD = 1000, 100


def skip_overflows(
  optimizer: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """An optimiser that leaves out updates whose gradients are not finite."""
  # More overflows in a row than this are divergence, and are never kept.
  return optax.apply_if_finite(optimizer, GOOD)


def initial() -> dict[str, Array]:
  """Returns the entries of the state for loss scaling."""
  return {
    'loss_scale': jnp.asarray(FIRST),
    'good_steps': jnp.zeros((), jnp.int32),
  }


def next_scale(state: Mapping[str, Array], finite: Array) -> dict[str, Array]:
  """Halves the scale after an overflow, doubles it after 1000 good updates.

  Args:
    finite: Whether the gradients are.
  """
  grow = finite & (state['good_steps'] >= GOOD)
  factor = jnp.where(finite, jnp.where(grow, 2.0, 1.0), 0.5)
  return {
    'loss_scale': jnp.clip(state['loss_scale'] * factor, SMALLEST, LARGEST),
    'good_steps': jnp.where(finite & ~grow, state['good_steps'] + 1, 0),
  }


def is_divergence(scale: Array, opt_state: optax.ApplyIfFiniteState) -> Array:
  """Tells whether an overflow is divergence: smallest scale, or too many.

  Args:
    scale: Scale of this update.
    opt_state: State of `skip_overflows` after this update.
  """
  many = opt_state.notfinite_count >= BAD
  return many | (scale <= SMALLEST)


def keep_finite(
  finite: Array, new: Mapping[str, Array], old: Mapping[str, Array]
) -> dict[str, Array]:
  """Returns the old arrays where an overflow spoilt the new ones."""
  return {k: jnp.where(finite, new[k], old[k]) for k in old}


def zero_not_finite(tree):
  """Replaces what is not finite by 0, as at the beginning of an episode."""
  clear = lambda x: jnp.where(jnp.isfinite(x), x, jnp.zeros_like(x))
  return jax.tree.map(clear, tree)
