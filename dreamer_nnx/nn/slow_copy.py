"""A copy of a module whose parameters follow those of the module slowly."""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import Range


class SlowParam(nnx.Variable):
  """A parameter that moves towards another; not trained by gradients."""


class SlowCopy(nnx.Module):
  """A copy that moves by slow = rate · source + (1 - rate) · slow.

  It is called like its source. `follow` makes a move.

  Args:
    source: The module to copy.
    rate: Share of the source in each move: below 0.5, or 1 for a copy of it.
    every: Updates between two moves; the first update makes one.
  """

  def __init__(
    self,
    source: nnx.Module,
    *,
    rate: Annotated[float, Range(above=0, high=1)] = 0.02,
    # Updates are counted in int32.
    every: Annotated[int, Range(1, 2**31 - 1)] = 1,
  ):
    if 0.5 <= rate < 1:
      raise UserError('must be 1, or below 0.5.', 'rate', rate)
    self.module = untrained(source)
    self.rate, self.every = rate, every

  def __call__(self, *args: Any, **kwargs: Any) -> Any:
    return self.module(*args, **kwargs)

  def follow(self, source: nnx.Module, updates: jax.Array) -> None:
    """Moves towards the source, if a move is due.

    Args:
      updates: Number of updates before the one just made.
    """
    rate = jnp.where(updates % self.every == 0, self.rate, 0)
    mix = lambda slow, new: rate * new + (1 - rate) * slow
    current = nnx.to_pure_dict(nnx.state(source, nnx.Param))
    before = nnx.to_pure_dict(nnx.state(self.module, SlowParam))
    nnx.update(self.module, jax.tree.map(mix, before, current))


def untrained(module: nnx.Module) -> nnx.Module:
  """Copies a module; the copy's parameters are not trained by gradients."""

  def freeze(_, v):
    if not isinstance(v, nnx.Param):
      return v
    return SlowParam(v.get_value(), axes=v.get_metadata().get('axes'))

  return nnx.map(freeze, nnx.clone(module))
