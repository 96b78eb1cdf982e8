"""Gradient descent with momentum."""

import optax

from dreamer_nnx.optimizers.schedules import Decay
from dreamer_nnx.schema import Weight
from dreamer_nnx.slots import OPTIMIZER

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@OPTIMIZER.register('mine')
def mine(
  *, lr: Weight = 1e-3, momentum: Decay = 0.9, clip: Weight = 1.0
) -> optax.GradientTransformation:
  """Chains a limit of the gradient's norm -> momentum -> learning rate.

  Args:
    lr: Learning rate.
    momentum: Part of the update before that is added.
    clip: Largest norm of all gradients together.
  """
  return optax.chain(
    optax.clip_by_global_norm(clip), optax.sgd(lr, momentum=momentum)
  )
