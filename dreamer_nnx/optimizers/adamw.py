"""AdamW from optax behind the clipping and schedules of the default."""

import optax

from dreamer_nnx.optimizers.chain import chain
from dreamer_nnx.optimizers.schedules import Decay, Scheduled
from dreamer_nnx.schema import Epsilon, Weight
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import OPTIMIZER


@OPTIMIZER.register('adamw')
@takes(chain)
def adamw(
  *,
  lr: Weight = 1e-4,
  eps: Epsilon = 1e-8,
  beta1: Decay = 0.9,
  beta2: Decay = 0.999,
  nesterov: bool = False,
  **others,
) -> Scheduled:
  """Chains AGC -> Adam -> decoupled weight decay -> learning rate.

  Args:
    eps: Added to the root of the second moment, which divides.
    beta1: Decay of the first moment, a moving average of gradients.
    beta2: Decay of the second moment, a moving average of their squares.
    nesterov: Looks ahead: averages the first moment with the gradient once
      more.

  Source: Loshchilov & Hutter 2017 (arXiv 1711.05101).
  """
  adam = optax.scale_by_adam(beta1, beta2, eps, nesterov=nesterov)
  return chain([adam], lr=lr, **others)
