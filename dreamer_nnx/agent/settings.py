"""Weights of the losses in the total."""

import dataclasses

from dreamer_nnx.schema import Weight


@dataclasses.dataclass(frozen=True)
class LossScales:
  """Weights of the losses in the total; every decoded key has that of `rec`.

  Args:
    rec: Weight of the reconstruction of each decoded observation.
    rew: Weight of the prediction of the reward.
    con: Weight of the prediction whether the episode goes on.
    dyn: Weight of the KL divergence by which the prior learns the posterior.
    rep: Weight of the KL divergence by which the posterior stays near the
      prior.
    policy: Weight of the behaviour's loss of the policy, on dreams.
    value: Weight of the behaviour's loss of the value, on dreams.
    repval: Weight of the behaviour's loss of the value on replayed steps.
  """

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
