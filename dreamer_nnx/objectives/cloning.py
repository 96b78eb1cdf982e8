"""Cloning of the actions that are demonstrated."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
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

  `label/demonstration` is 1 at steps that demonstrate, and else 0.

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
    *,
    scale: Weight = 1.0,
    model_grad: bool = True,
  ):
    if DEMONSTRATION not in stored_space:
      raise UserError(f'the environment must observe {DEMONSTRATION!r}.')
    self.scale, self.model_grad = scale, model_grad

  def losses(
    self, replayed: Replayed, key: jax.Array, update: bool
  ) -> tuple[contracts.Losses, contracts.Metrics]:
    """Computes `cloning` (B, T), and the share of demonstrations."""
    del key, update
    steps, feat = replayed.steps, replayed.observed.feat
    policy = replayed.world.behavior.policy
    joint = policy(
      feat if self.model_grad else jax.lax.stop_gradient(feat),
      given=spaces.labels(steps),
      mask=spaces.masks(steps),
    )
    shown = steps[DEMONSTRATION].reshape(steps['is_last'].shape) > 0.5
    logp = joint.logp(replayed.action)
    loss = jnp.where(shown & ~steps['is_last'], -logp, 0)
    return {'cloning': loss}, {'cloning/share': shown.mean()}
