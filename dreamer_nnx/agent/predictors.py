"""An MLP trunk with one head, or with one head for each action key."""

from collections.abc import Mapping

import jax
from flax import nnx
from gymnasium import spaces as gym_spaces

from dreamer_nnx import contracts, spaces
from dreamer_nnx.nn.mlp import MLP, Layers
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import HEAD


class Predictor(nnx.Module):
  """An MLP and a head: features (..., F) to one output.

  Args:
    layers, trunk: Layers before the head and their fields; see `nn.mlp.MLP`.
    head: The output layer.
  """

  @takes(MLP)
  def __init__(
    self,
    input_size: int,
    space: gym_spaces.Space,
    *,
    layers: Layers = 1,
    head: Choice = Choice(HEAD, 'mse'),
    precision: Precision,
    rngs: nnx.Rngs,
    **trunk,
  ):
    given = dict(precision=precision, rngs=rngs)
    self.mlp = MLP(input_size, layers=layers, **trunk, **given)
    self.head = head(input_size=self.mlp.output_size, space=space, **given)

  def __call__(self, features: jax.Array) -> contracts.Output:
    return self.head(self.mlp(features))


class Policy(nnx.Module):
  """An MLP and heads: features (..., F) to an output for each action key.

  Args:
    trunk: The layers before the heads, see `nn.mlp.MLP`.
    discrete, continuous: Output layers of those kinds of action.
  """

  @takes(MLP)
  def __init__(
    self,
    input_size: int,
    action_space: Mapping[str, gym_spaces.Space],
    *,
    discrete: Choice = Choice(HEAD, 'categorical', outscale=0.01),
    continuous: Choice = Choice(HEAD, 'bounded_normal', outscale=0.01),
    precision: Precision,
    rngs: nnx.Rngs,
    **trunk,
  ):
    given = dict(precision=precision, rngs=rngs)
    self.mlp = MLP(input_size, **trunk, **given)
    size = self.mlp.output_size
    self.heads = nnx.data(
      {
        key: (discrete if spaces.is_discrete(space) else continuous)(
          input_size=size, space=space, **given
        )
        for key, space in sorted(action_space.items())
      }
    )

  def __call__(self, features: jax.Array) -> dict[str, contracts.Output]:
    x = self.mlp(features)
    return {key: head(x) for key, head in self.heads.items()}


def sample(
  policy: Mapping[str, contracts.Output], key: jax.Array
) -> contracts.Action:
  """Draws each action key once."""
  keys = jax.random.split(key, len(policy))
  return {
    name: output.sample(keys[i])
    for i, (name, output) in enumerate(sorted(policy.items()))
  }
