"""Lion from optax behind the clipping and schedules of the default."""

import jax.numpy as jnp
import optax

from dreamer_nnx.optimizers.chain import chain
from dreamer_nnx.optimizers.schedules import Decay, Scheduled
from dreamer_nnx.schema import Weight
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import OPTIMIZER


@OPTIMIZER.register('lion')
@takes(chain)
def lion(
  *,
  lr: Weight = 1e-5,
  beta1: Decay = 0.9,
  beta2: Decay = 0.99,
  **others,
) -> Scheduled:
  """Chains AGC -> sign of the momentum -> weight decay -> learning rate.

    u = sign(β₁ m + (1 - β₁) g),   m ← β₂ m + (1 - β₂) g

  Every update has the size of the learning rate, so that this is 3 to 10 times
  smaller than for Adam, and weight decay as much larger.

  Args:
    lr: Learning rate after the warm-up.
    beta1: Share of the momentum in an update.
    beta2: Decay of the momentum, the moving average of gradients.
    others: See `chain.chain`.

  Source: Chen et al. 2023 (arXiv 2302.06675).
  """
  sign = optax.scale_by_lion(beta1, beta2, mu_dtype=jnp.float32)
  return chain([sign], lr=lr, **others)
