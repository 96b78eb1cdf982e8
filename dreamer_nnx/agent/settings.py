"""Weights of the losses in the total."""

import dataclasses

from dreamer_nnx.schema import Weight


@dataclasses.dataclass(frozen=True)
class LossScales:
  """Weights of the losses in the total; every decoded key has that of `rec`."""

  rec: Weight = 1.0
  rew: Weight = 1.0
  con: Weight = 1.0
  dyn: Weight = 1.0
  rep: Weight = 0.1
  policy: Weight = 1.0
  value: Weight = 1.0
  repval: Weight = 0.3

  def weight(self, name: str) -> float:
    """Looks a weight up; a component's own further losses weigh 1."""
    return getattr(self, name, 1.0)
