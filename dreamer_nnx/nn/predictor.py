"""An MLP trunk with one head, on named features."""

from collections.abc import Mapping

import jax
from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.nn.mlp import MLP, Layers
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.vectors import concat
from dreamer_nnx.registry import Choice
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import HEAD
from dreamer_nnx.spacetypes import Space


class Predictor(nnx.Module):
  """An MLP and a head: features (..., n) by name to one output.

  Args:
    feat_space: Sizes of the features, in the order in which they are read.
    layers: Layers of the MLP before the head; 0 for the head alone.
    head: The output layer.
  """

  @takes(MLP)
  def __init__(
    self,
    feat_space: Mapping[str, int],
    space: Space,
    *,
    layers: Layers = 1,
    head: Choice = Choice(HEAD, 'mse'),
    precision: Precision,
    rngs: nnx.Rngs,
    **trunk,
  ):
    given = dict(precision=precision, rngs=rngs)
    self.order = tuple(feat_space)
    inputs = sum(feat_space.values())
    self.mlp = MLP(inputs, layers=layers, **trunk, **given)
    self.head = head(input_size=self.mlp.output_size, space=space, **given)

  def __call__(self, feat: Mapping[str, jax.Array]) -> contracts.Output:
    return self.head(self.mlp(concat(feat, self.order)))
