"""One distribution over all action keys, of independent parts."""

import dataclasses
from collections.abc import Mapping

import jax

from dreamer_nnx import contracts, streams

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Independent:
  """Product of an output for each action key.

    logp(a) = Σ logp(a_key)

  Args:
    outputs: By action key, over (..., action).
  """

  outputs: Mapping[str, contracts.Output]

  def sample(self, key: Array) -> contracts.Action:
    return {
      name: output.sample(streams.at(key, name))
      for name, output in self.outputs.items()
    }

  def pred(self) -> contracts.Action:
    return {name: output.pred() for name, output in self.outputs.items()}

  def logp(self, action: contracts.Action) -> Array:
    every = [out.logp(action[name]) for name, out in self.outputs.items()]
    return sum(every[1:], every[0])

  def entropy(self) -> dict[str, Array]:
    return {name: output.entropy() for name, output in self.outputs.items()}

  def entropy_range(self) -> dict[str, tuple[Array, Array]]:
    """Lowest and highest entropies of the keys that have such bounds."""
    bounds = {
      name: getattr(output, 'entropy_range', lambda: None)()
      for name, output in self.outputs.items()
    }
    return {name: bound for name, bound in bounds.items() if bound}
