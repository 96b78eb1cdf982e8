"""Predicts actions from the features before and after them."""

import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import spaces
from dreamer_nnx.nn.mlp import MLP
from dreamer_nnx.nn.vectors import concat
from dreamer_nnx.registry import Choice
from dreamer_nnx.schema import Count, Weight
from dreamer_nnx.slots import HEAD, OBJECTIVE

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@OBJECTIVE.register('mine')
class Mine(nnx.Module):
  """An inverse model: a[t-1] from features t-1 and t.

    loss_t = -log p(a[t-1] | feat[t-1], feat[t]),   0 for t = 0

  Args:
    scale: Weight of the loss; 0 leaves it out.
    units: Numbers of the layer before the heads.
    discrete: Head of each discrete action.
    continuous: Head of each continuous action.
  """

  def __init__(
    self,
    action_space,
    feat_space,
    *,
    scale: Weight = 0.1,
    units: Count = 64,
    discrete: Choice = Choice(HEAD, 'categorical'),
    continuous: Choice = Choice(HEAD, 'mse'),
    precision,
    rngs,
  ):
    given = dict(precision=precision, rngs=rngs)
    self.scale, self.order = scale, tuple(feat_space)
    size = 2 * sum(feat_space.values())
    self.mlp = MLP(size, layers=1, units=units, **given)
    self.heads = nnx.data({})
    for key, space in sorted(action_space.items()):
      head = discrete if spaces.is_discrete(space) else continuous
      self.heads[key] = head(input_size=units, space=space, **given)

  def losses(self, replayed, key, update):
    del key, update
    feat = concat(replayed.observed.feat, self.order)
    x = self.mlp(jnp.concatenate([feat[:, :-1], feat[:, 1:]], -1))
    loss = sum(
      head(x).loss(replayed.before[name][:, 1:])
      for name, head in self.heads.items()
    )
    # No action leads to the first step of an episode.
    loss *= ~replayed.steps['is_first'][:, 1:]
    # (B, T-1) to (B, T).
    return {'mine': jnp.pad(loss, [(0, 0), (1, 0)])}, {'mine': loss.mean()}
