"""Sizes of gradients, changes and parameters; the first that is not finite."""

from collections.abc import Collection, Mapping

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
NONE = np.iinfo(np.int32).max


class Squares:
  """Sums of squares of arrays, in float32.

  Args:
    joined: Names of small arrays that are summed as one, to compile less.
  """

  def __init__(self, arrays: Mapping[str, Array], joined: Collection[str] = ()):
    names = sorted(arrays)
    self.large = [name for name in names if name not in joined]
    self.small = [name for name in names if name in joined]
    self.count = sum(x.size for x in arrays.values())
    self.sizes = [arrays[name].size for name in self.small]
    square = lambda x: jnp.square(x.astype(jnp.float32))
    self.sums = [square(arrays[name]).sum() for name in self.large]
    if self.small:
      flat = [arrays[name].ravel() for name in self.small]
      self.elements = square(jnp.concatenate(flat))

  def norm(self) -> Array:
    """√Σ x² over all arrays."""
    rest = [self.elements.sum()] if self.small else []
    return jnp.sqrt(jnp.stack(self.sums + rest).sum())

  def first_bad(self) -> Array:
    """Place, by name, of the first array that is not finite; or NONE."""
    places = {name: i for i, name in enumerate(sorted(self.large + self.small))}
    found = [jnp.asarray(NONE)]
    if self.large:
      large = np.array([places[name] for name in self.large], np.int32)
      found.append(first(jnp.stack(self.sums), large))
    if self.small:
      element = first(self.elements, jnp.arange(self.elements.size))
      before = (element >= np.cumsum(self.sizes)).sum()
      small = [places[name] for name in self.small]
      found.append(jnp.asarray([*small, NONE])[before])
    return jnp.stack(found).min()


def optimizer_metrics(
  loss: Array,
  updates: Array,
  grads: Squares,
  changes: Squares,
  params: Squares,
) -> dict[str, Array]:
  """Loss, number of updates, and sizes of gradients, changes and parameters."""
  grad_norm, count = grads.norm(), params.count
  return {
    'opt/loss': loss,
    'opt/updates': updates,
    'opt/grad_norm': grad_norm,
    'opt/grad_rms': grad_norm / count**0.5,
    'opt/update_rms': changes.norm() / count**0.5,
    'opt/param_rms': params.norm() / count**0.5,
    'opt/param_count': jnp.asarray(count, jnp.float32),
  }


def first(values: Array, places: Array | np.ndarray) -> Array:
  """The smallest of the places whose values are not finite; or NONE."""
  return jnp.where(jnp.isfinite(values), NONE, places).min(initial=NONE)
