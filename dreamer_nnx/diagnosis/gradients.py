"""Gradient norms by loss, and the first array that is not finite."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx.trained import Trained
from dreamer_nnx.training.layout import State

Array = jax.Array


class Gradients:
  """Gradients of each scaled loss alone.

  Args:
    trained: The agent.
    length: Steps of a window that are trained on.
  """

  def __init__(self, trained: Trained, length: int):
    self._layout, self._length = trained.layout, length
    self._norms = trained.compiled_on_arrays(self._all)

  def norms(
    self, arrays: State, batch: Mapping[str, Array], key: Array
  ) -> dict[str, float]:
    """Norms of the gradients of `scale * mean(loss)`, by loss.

    Args:
      arrays: All of the agent's.
      batch: As `Agent.loss` takes it.
    """
    found = self._norms(arrays, dict(batch), key)
    return {name: float(x) for name, x in found.items()}

  def _all(self, arrays, batch, key):
    trained = {k: arrays[k] for k in self._layout.trained}

    def losses(params):
      agent = self._layout.merge(arrays | params)
      carry = agent.initial(len(batch['is_first']))
      _, aux = agent.loss(carry, batch, key, length=self._length, update=False)
      return {
        name: agent.scales.weight(name) * x.mean()
        for name, x in aux['losses'].items()
      }

    values, pullback = jax.vjp(losses, trained)
    names = list(values)

    def norm(weights):
      given = dict(zip(names, weights, strict=True))
      (grads,) = pullback(given)
      return jnp.sqrt(
        sum(
          jnp.vdot(g.astype(jnp.float32), g.astype(jnp.float32))
          for g in grads.values()
        )
      )

    # One after another, for each holds as much as the parameters do.
    found = jax.lax.map(norm, jnp.eye(len(names)))
    return dict(zip(names, found, strict=True))


def first_bad(arrays: Mapping[str, Array]) -> str:
  """The first array by name with a NaN or an infinity; empty for none."""
  for name in sorted(arrays):
    array = np.asarray(jax.device_get(arrays[name]))
    if array.dtype.kind == 'V':
      array = array.astype(np.float32)
    if array.dtype.kind == 'f' and not np.isfinite(array).all():
      return name
  return ''
