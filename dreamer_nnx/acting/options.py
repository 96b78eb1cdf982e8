"""Scalar settings of the losses of model and behaviour."""

import dataclasses
from typing import Annotated

from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import Count, Range, Share, Weight


@dataclasses.dataclass(frozen=True)
class AgentOptions:
  """Options of the losses and of what they train.

  Args:
    horizon: Effective horizon in steps; the discount is 1 - 1/horizon. With
      1 it is 0, and `contdisc` has to bring it in.
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
    repval_grad: The value's loss on replayed returns trains the world model.
    repval_lam, repval_slowreg: `lam` and `slowreg` of replayed returns.
    extrinsic_scale: Multiplies the rewards of the environment, dreamt and
      replayed; to those of dreams, objectives may add theirs.
  """

  horizon: Count = 333
  contdisc: bool = True
  reward_grad: bool = True
  ac_grads: bool = False
  imag_last: Annotated[int, Range(0)] = 0
  imag_length: Count = 15
  lam: Share = 0.95
  actent: Weight = 3e-4
  slowreg: Weight = 1.0
  slowtar: bool = False
  repval_loss: bool = True
  repval_grad: bool = True
  repval_lam: Share = 0.95
  repval_slowreg: Weight = 1.0
  extrinsic_scale: Weight = 1.0

  @property
  def discount(self) -> float:
    return 1 - 1 / self.horizon

  def __post_init__(self):
    if self.horizon == 1 and not self.contdisc:
      raise UserError(
        'makes the discount 0, by which the weights of imagined steps are '
        'divided without contdisc. Use a longer horizon or contdisc.',
        'horizon',
        self.horizon,
      )
