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
    lr: Learning rate behind the warm-up.
    schedule: Learning rate behind the warm-up: `const`; `linear` to a tenth; or
      `cosine` to nearly 0.
    warmup: Updates over which the learning rate rises from 0; 0 for none.
    anneal: Update at which the schedule ends; above `warmup`, unless `const`.
    agc: Largest norm of a gradient relative to its parameter's; larger ones are
      scaled down (adaptive gradient clipping). 0 never clips.
    wd: Weight decay: the share of a parameter that an update takes off, times
      the learning rate; 0 for none.
    wdregex: Regular expression: names of the parameters that decay.
  """
  return scheduled(
    clip_by_agc(agc),
    *scales,
    weight_decay(wd, wdregex),
    schedule=learning_rate(lr, schedule, warmup, anneal),
  )
