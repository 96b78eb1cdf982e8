"""AdamW from optax behind the clipping and schedules of the default."""

import optax

from dreamer_nnx.optimizers.clipping import clip_by_agc
from dreamer_nnx.optimizers.decay import weight_decay
from dreamer_nnx.optimizers.schedules import learning_rate, scheduled
from dreamer_nnx.slots import OPTIMIZER


@OPTIMIZER.register('adamw')
def adamw(
  *,
  lr: float = 1e-4,
  agc: float = 0.3,
  eps: float = 1e-8,
  beta1: float = 0.9,
  beta2: float = 0.999,
  nesterov: bool = False,
  wd: float = 0.0,
  wdregex: str = r'/kernel$',
  schedule: str = 'const',
  warmup: int = 1000,
  anneal: int = 0,
) -> optax.GradientTransformation:
  """AGC -> Adam -> decoupled weight decay -> learning rate.

  Args:
    lr, schedule, warmup, anneal: See `schedules.learning_rate`.
    agc: See `clipping.clip_by_agc`.
    eps, beta1, beta2, nesterov: See `optax.scale_by_adam`.
    wd, wdregex: See `decay.weight_decay`.
  """
  return scheduled(
    clip_by_agc(agc),
    optax.scale_by_adam(beta1, beta2, eps, nesterov=nesterov),
    weight_decay(wd, wdregex),
    schedule=learning_rate(lr, schedule, warmup, anneal),
  )
