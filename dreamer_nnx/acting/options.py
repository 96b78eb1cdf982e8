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
    contdisc: The continue head predicts the discount, too: its target is
      multiplied by it.
    reward_grad: The reward head's loss trains the world model, too, not the
      head alone.
    ac_grads: The losses of actor and critic train the world model, too, through
      the first states of dreams.
    imag_last: K, the last steps of each sequence, from which dreams start; 0
      means all.
    imag_length: H, steps of a dream.
    lam: λ of the imagined returns: 0 is one step, 1 bootstraps at the end
      alone.
    actent: Weight of the policy's entropy.
    slowreg: Weight of the loss that pulls the value to the slow value.
    slowtar: The slow value bootstraps the imagined returns, instead of the
      value.
    repval_loss: The value also learns on returns of replayed steps.
    repval_grad: The value's loss on replayed returns trains the world model.
    repval_lam: λ of the returns of replayed steps.
    repval_slowreg: Weight of the pull of the value to the slow value, on
      replayed steps.
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
