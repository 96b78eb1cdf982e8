"""Steps of every optimiser before and after it scales the gradients."""

import optax

from dreamer_nnx.optimizers.clipping import clip_by_agc
from dreamer_nnx.optimizers.decay import weight_decay
from dreamer_nnx.optimizers.schedules import (
  Schedule,
  Scheduled,
  Updates,
  learning_rate,
  scheduled,
)
from dreamer_nnx.schema import Weight


def chain(
  *scales: optax.GradientTransformation,
  lr: Weight,
  agc: Weight = 0.3,
  wd: Weight = 0.0,
  wdregex: str = r'/kernel$',
  schedule: Schedule = 'const',
  warmup: Updates = 1000,
  anneal: Updates = 0,
) -> Scheduled:
  """Chains AGC -> scales -> weight decay -> learning rate.

  Args:
    lr, schedule, warmup, anneal: See `schedules.learning_rate`.
    agc: See `clipping.clip_by_agc`.
    wd, wdregex: See `decay.weight_decay`.
  """
  return scheduled(
    clip_by_agc(agc),
    *scales,
    weight_decay(wd, wdregex),
    schedule=learning_rate(lr, schedule, warmup, anneal),
  )
