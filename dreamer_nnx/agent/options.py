"""Scalar options of the agent's losses."""

import dataclasses

from dreamer_nnx.errors import UserError


@dataclasses.dataclass(frozen=True)
class LossScales:
  """Weights of the losses in the total; `rec` is that of every decoded key."""

  rec: float = 1.0
  rew: float = 1.0
  con: float = 1.0
  dyn: float = 1.0
  rep: float = 0.1
  policy: float = 1.0
  value: float = 1.0
  repval: float = 0.3

  def of(self, name: str) -> float:
    """The weight of a loss; a component's own further losses weigh 1."""
    return getattr(self, name, 1.0)


@dataclasses.dataclass(frozen=True)
class SlowValue:
  """slow = rate · value + (1 - rate) · slow, every so many updates.

  Args:
    rate: 1, or below 0.5.
    every: Updates; the first update counts.
  """

  rate: float = 0.02
  every: int = 1

  def __post_init__(self):
    if not (self.rate == 1 or 0 < self.rate < 0.5) or self.every < 1:
      raise UserError(
        f'config.slow_value: rate = {self.rate} must be 1 or in (0, 0.5), '
        f'every = {self.every} must be at least 1.'
      )


@dataclasses.dataclass(frozen=True)
class AgentOptions:
  """How the losses are put together.

  Args:
    horizon: Effective horizon in steps; the discount is 1 - 1/horizon.
    contdisc: The continue head predicts the discount, too.
    reward_grad: The reward head trains the world model.
    ac_grads: The actor and critic train the world model at first states.
    imag_last: K, imagination starts per sequence; 0 means all.
    imag_length: H, imagined steps.
    lam: λ of the imagined returns.
    actent: Weight of the policy's entropy.
    slowreg: Weight of the pull of the value to the slow value.
    slowtar: The slow value bootstraps the imagined returns.
    repval_loss: The value also learns on replayed returns.
    repval_grad: That loss trains the world model.
    repval_lam, repval_slowreg: Likewise, for replay.
  """

  horizon: int = 333
  contdisc: bool = True
  reward_grad: bool = True
  ac_grads: bool = False
  imag_last: int = 0
  imag_length: int = 15
  lam: float = 0.95
  actent: float = 3e-4
  slowreg: float = 1.0
  slowtar: bool = False
  repval_loss: bool = True
  repval_grad: bool = True
  repval_lam: float = 0.95
  repval_slowreg: float = 1.0
