"""An MLP with a head for each action key."""

from collections.abc import Mapping

import jax
from flax import nnx

from dreamer_nnx import contracts, spaces
from dreamer_nnx.acting.joint import Independent
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.mlp import MLP
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.vectors import concat
from dreamer_nnx.registry import Choice
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import HEAD, POLICY
from dreamer_nnx.spacetypes import Space


class Heads(nnx.Module):
  """An MLP and heads: features (..., n) to an output for each action key.

  Args:
    discrete: Output layer of each discrete action.
    continuous: Output layer of each continuous action.
    layers: Layers of the MLP before the heads; 0 for the heads alone.
  """

  @takes(MLP)
  def __init__(
    self,
    feat_space: Mapping[str, int],
    action_space: Mapping[str, Space],
    *,
    discrete: Choice = Choice(HEAD, 'categorical', outscale=0.01),
    continuous: Choice = Choice(HEAD, 'bounded_normal', outscale=0.01),
    precision: Precision,
    rngs: nnx.Rngs,
    **trunk,
  ):
    given = dict(precision=precision, rngs=rngs)
    self.order = tuple(feat_space)
    self.mlp = MLP(sum(feat_space.values()), **trunk, **given)
    size = self.mlp.output_size
    self.heads = nnx.data(
      {
        key: (discrete if spaces.is_discrete(space) else continuous)(
          input_size=size, space=space, **given
        )
        for key, space in sorted(action_space.items())
      }
    )

  def outputs(self, feat: contracts.Feat) -> dict[str, contracts.Output]:
    """Maps features (..., n) to an output for each action key."""
    x = self.mlp(concat(feat, self.order))
    return {key: head(x) for key, head in self.heads.items()}


@POLICY.register('mlp')
class MLPPolicy(Heads):
  """Independent actions from all features.

  It reads no masks and no labels.

  Raises:
    UserError: The environment gives masks.

  Source: Hafner et al. 2025 (arXiv 2301.04104).
  """

  @takes(Heads)
  def __init__(
    self,
    feat_space: Mapping[str, int],
    obs_space: Mapping[str, Space],
    action_space: Mapping[str, Space],
    **heads,
  ):
    for key in spaces.masked(obs_space):
      raise UserError(
        f'this policy would ignore the observation mask/{key}. Choose a policy '
        "that masks, `masked`, or leave the key out in the environment's "
        'wrapper.'
      )
    super().__init__(feat_space, action_space, **heads)

  def __call__(
    self,
    feat: contracts.Feat,
    *,
    given: Mapping[str, jax.Array],
    mask: Mapping[str, jax.Array],
  ) -> Independent:
    del given, mask
    return Independent(self.outputs(feat))
