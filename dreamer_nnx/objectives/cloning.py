"""Cloning of the actions that are demonstrated."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dreamer_nnx import contracts, spaces
from dreamer_nnx.contracts import Replayed
from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import Weight
from dreamer_nnx.slots import OBJECTIVE
from dreamer_nnx.spacetypes import Space

DEMONSTRATION = spaces.LABEL + 'demonstration'


@OBJECTIVE.register('cloning')
class Cloning(nnx.Module):
  """Likelihood of the actions of demonstrations under the policy.

    loss = -demonstration · log π(action | feat),   0 at a last step

  `label/demonstration` is 1 at steps that demonstrate, and else 0. Actions that
  the step's own `mask/*` excludes are not cloned, for no policy that heeds the
  mask can take them.

  Args:
    scale: Weight of the loss `cloning`.
    model_grad: The loss trains the features, too.

  Raises:
    UserError: The environment does not observe `label/demonstration`.

  Source: Hansen et al. 2022, arXiv 2212.05698.
  """

  def __init__(
    self,
    stored_space: Mapping[str, Space],
    action_space: Mapping[str, Space],
    *,
    scale: Weight = 1.0,
    model_grad: bool = True,
  ):
    if DEMONSTRATION not in stored_space:
      raise UserError(f'the environment must observe {DEMONSTRATION!r}.')
    self.scale, self.model_grad = scale, model_grad
    masked = spaces.masked(stored_space)
    self.classes = {key: spaces.classes(action_space[key]) for key in masked}

  def losses(
    self, replayed: Replayed, key: jax.Array, update: bool
  ) -> tuple[contracts.Losses, contracts.Metrics]:
    """Computes `cloning` (B, T), and shares of the steps."""
    del key, update
    steps, feat = replayed.steps, replayed.observed.feat
    mask = spaces.masks(steps)
    policy = replayed.world.behavior.policy
    joint = policy(
      feat if self.model_grad else jax.lax.stop_gradient(feat),
      given=spaces.labels(steps),
      mask=mask,
    )
    shown = steps[DEMONSTRATION].reshape(steps['is_last'].shape) > 0.5
    logp = joint.logp(replayed.action)
    meant = shown & ~steps['is_last']
    taken = meant & self._allowed(mask, replayed.action)
    return {'cloning': jnp.where(taken, -logp, 0)}, {
      'cloning/share': shown.mean(),
      'cloning/excluded': (meant & ~taken).mean(),
    }

  def _allowed(
    self, mask: Mapping[str, jax.Array], action: contracts.Action
  ) -> jax.Array:
    """Tells where no number of an action is excluded, (B, T), or ()."""
    every = [jnp.array(True)]
    for key, sizes in self.classes.items():
      # (B, T, Σ C) to (B, T, C) for each number; (B, T, ...) to (B, T, n).
      parts = jnp.split(mask[key], np.cumsum(sizes)[:-1], -1)
      numbers = action[key].reshape(*mask[key].shape[:-1], len(sizes))
      for part, number in zip(parts, jnp.moveaxis(numbers, -1, 0), strict=True):
        chosen = jnp.take_along_axis(part, number[..., None], -1)[..., 0]
        # A mask that excludes all says nothing.
        every.append(chosen | ~part.any(-1))
    return functools.reduce(jnp.logical_and, every)
