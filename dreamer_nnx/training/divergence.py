"""Divergence: the first update that made an array not finite, and which one.

An update looks at its losses, the gradients, the parameters after it and the
statistics, in this order and each by name. Gradients and parameters count as
not finite where their squares are not, in float32: from elements of 1.8e19 on,
with which nothing can be computed any more.
"""

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp

from dreamer_nnx import paths
from dreamer_nnx.errors import UserError
from dreamer_nnx.training.norms import NONE, Squares, first

Array = jax.Array
LOSS = 'loss/'


class Diverged(UserError):
  """Training went on with numbers that are not finite.

  Args:
    update: The first one that made any, from 1 on.
    array: Description of the array: `the loss rew`.
    env_steps: Environment steps when it was found.
    rest: See `with_advice`.
  """

  status = 1

  def __init__(self, update: int, array: str, env_steps: int, rest: str = ''):
    super().__init__(
      f'Training diverged: in update {update} {array} was not finite, found at '
      f'environment step {env_steps}.{rest and " " + rest}'
    )
    self.update, self.array, self.env_steps = update, array, env_steps

  def with_advice(self, rest: str) -> 'Diverged':
    """Adds what is kept, and what to do, to the message."""
    return Diverged(self.update, self.array, self.env_steps, rest)


def losses_of(metrics: Mapping[str, Array]) -> dict[str, Array]:
  """The losses among the metrics of an update, by name."""
  return {
    name.removeprefix(LOSS): value
    for name, value in metrics.items()
    if name.startswith(LOSS)
  }


def labels(
  losses: Iterable[str], trained: Iterable[str], statistics: Iterable[str]
) -> list[str]:
  """Names the arrays that `first_bad` checks, in order."""
  kinds = {
    'the loss ': losses,
    'the norm of the gradient of ': trained,
    'the norm of the parameter ': trained,
    'the statistic ': statistics,
  }
  return [kind + name for kind, x in kinds.items() for name in sorted(x)]


def first_bad(
  losses: Mapping[str, Array],
  grads: Squares,
  params: Squares,
  statistics: Mapping[str, Array],
) -> Array:
  """Place in `labels` of the first one that is not finite; or NONE.

  Args:
    losses: Scalars.
    statistics: Arrays that may be infinite, but no NaN.
  """
  scalars = [losses[name].astype(jnp.float32) for name in sorted(losses)]
  spoilt = [jnp.isnan(statistics[name]).any() for name in sorted(statistics)]
  sound = jnp.where(jnp.asarray(spoilt, bool), jnp.nan, 0.0)
  count = len(grads.large) + len(grads.small)
  places = (
    (first(jnp.stack(scalars), jnp.arange(len(scalars))), len(scalars)),
    (grads.first_bad(), count),
    (params.first_bad(), count),
    (first(sound, jnp.arange(len(spoilt))), len(spoilt)),
  )
  start, found = 0, []
  for place, size in places:
    found.append(jnp.where(place == NONE, NONE, place + start))
    start += size
  return jnp.stack(found).min()


def recorded(before: Array, update: Array, place: Array) -> Array:
  """(update, place) of the first divergence, (-1, -1) if there was none yet."""
  now = jnp.where(place == NONE, -1, jnp.stack([update, place]))
  return jnp.where(before[0] < 0, now, before)


def remedy(workdir: paths.Path, good: int | None, rewinds: int) -> str:
  """Says what is kept of a run that diverged, and what to do.

  Args:
    good: The step of the last checkpoint, if there is one.
    rewinds: Number of times that the run went back to a checkpoint before.
  """
  kept = f'The last good one is step {good} in {workdir}.'
  found = 'There is none before it.' if good is None else kept
  tried = '; config.train.on_divergence=rewind goes back by itself.'
  if rewinds:
    tried = f'. It went back {rewinds} times, see config.train.max_rewinds.'
  return (
    f'No checkpoint was written since. {found} Try a smaller learning rate, in '
    f'config.optimizer, and run the same command again{tried}'
  )
