"""An MLP that never takes an action that is not allowed."""

from collections.abc import Mapping

import jax

from dreamer_nnx import contracts, spaces
from dreamer_nnx.acting.joint import Independent
from dreamer_nnx.errors import UserError
from dreamer_nnx.policies.mlp import Heads
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import POLICY
from dreamer_nnx.spacetypes import Space


@POLICY.register('masked')
class MaskedPolicy(Heads):
  """Independent actions; classes that `mask/<action>` excludes have none.

    π(a) ∝ mask(a) · exp(logit(a)),   after the share of the uniform

  In dreams the masks are those that an objective predicts (`masks`); the first
  is the true one. Without one every action is allowed after the first.

  Raises:
    UserError: The environment gives no masks.

  Source: Huang and Ontañón 2020, arXiv 2006.14171.
  """

  @takes(Heads)
  def __init__(
    self,
    feat_space: Mapping[str, int],
    obs_space: Mapping[str, Space],
    action_space: Mapping[str, Space],
    **heads,
  ):
    if not spaces.masked(obs_space):
      raise UserError(
        'the environment gives no masks. Observe mask/<action>, a number for '
        'each class, 0 where it is not allowed; or choose the policy `mlp`.'
      )
    super().__init__(feat_space, action_space, **heads)

  def __call__(
    self,
    feat: contracts.Feat,
    *,
    given: Mapping[str, jax.Array],
    mask: Mapping[str, jax.Array],
  ) -> Independent:
    del given
    outputs = self.outputs(feat)
    masked = {key: outputs[key].masked(mask[key]) for key in mask}
    return Independent(outputs | masked)
