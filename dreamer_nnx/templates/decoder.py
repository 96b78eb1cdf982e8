"""Decodes vectors by one linear map and a head each; no images."""

from flax import nnx

from dreamer_nnx import spaces
from dreamer_nnx.nn.mlp import MLP
from dreamer_nnx.nn.vectors import concat
from dreamer_nnx.registry import Choice
from dreamer_nnx.schema import Count
from dreamer_nnx.slots import DECODER, HEAD

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@DECODER.register('mine')
class Mine(nnx.Module):
  """Features to a distribution of each vector.

  Args:
    units: Numbers of the layer before the heads.
    continuous: Head of each continuous vector.
    discrete: Head of each discrete observation.
  """

  def __init__(
    self,
    obs_space,
    feat_space,
    *,
    units: Count = 64,
    continuous: Choice = Choice(HEAD, 'symlog_mse'),
    discrete: Choice = Choice(HEAD, 'categorical'),
    precision,
    rngs,
  ):
    given = dict(precision=precision, rngs=rngs)
    # A feature dict may come in another order.
    self.order = tuple(feat_space)
    self.mlp = MLP(sum(feat_space.values()), layers=1, units=units, **given)
    self.heads = nnx.data({})
    for key, space in sorted(obs_space.items()):
      if not spaces.is_image(space):
        head = discrete if spaces.is_discrete(space) else continuous
        size = self.mlp.output_size
        self.heads[key] = head(input_size=size, space=space, **given)

  def __call__(self, feat):
    x = self.mlp(concat(feat, self.order))
    return {key: head(x) for key, head in self.heads.items()}
