"""Steps of every optimiser before and after it scales the gradients."""

from collections.abc import Sequence

import optax

from dreamer_nnx.optimizers.clipping import clip_by_agc
from dreamer_nnx.optimizers.decay import weight_decay
from dreamer_nnx.optimizers.groups import Factors, Groups
from dreamer_nnx.optimizers.schedules import (
  Schedule,
  Scheduled,
  Updates,
  learning_rate,
  scheduled,
)
from dreamer_nnx.schema import Weight


def chain(
  scales: Sequence[optax.GradientTransformation],
  factors: Factors | None = None,
  *,
  lr: Weight,
  rates: tuple[str, ...] = (),
  freeze: tuple[str, ...] = (),
  agc: Weight = 0.3,
  wd: Weight = 0.0,
  wdregex: str = r'/kernel$',
  schedule: Schedule = 'const',
  warmup: Updates = 1000,
  anneal: Updates = 0,
) -> Scheduled:
  """Chains AGC -> scales -> weight decay -> learning rate.

  A parameter of a rate of its own learns at the learning rate of the schedule
  times rate / lr, its weight decay included. `rates` and `freeze` change no
  array of the state.

  Args:
    scales: What turns gradients into updates.
    factors: Makes multiples of the learning rate, by name, where `rates` say
      nothing; 1 without it.
    lr: Learning rate behind the warm-up.
    rates: Rates of other parameters, 'PATTERN=RATE' each, in place of `lr`:
      'behavior/=3e-5' is that of every parameter in whose name the regular
      expression behavior/ is found.
    freeze: Regular expressions; parameters in whose names one is found stay
      exactly as they are.
    schedule: Learning rate behind the warm-up: `const`; `linear` to a tenth; or
      `cosine` to nearly 0.
    warmup: Updates over which the learning rate rises from 0; 0 for none.
    anneal: Update at which the schedule ends; above `warmup`, unless `const`.
    agc: Largest norm of a gradient relative to its parameter's; larger ones are
      scaled down (adaptive gradient clipping). 0 never clips.
    wd: Weight decay: the share of a parameter that an update takes off, times
      the learning rate; 0 for none.
    wdregex: Regular expression: names of the parameters that decay.

  Raises:
    UserError: For patterns and rates that cannot be read, or a schedule
      without an end.
  """
  groups = Groups(lr, rates, freeze, factors)
  decay = weight_decay(wd, wdregex)
  # In one place of the chain, so that arrays of the state keep their names.
  last = decay if groups.empty else optax.chain(decay, groups.scaling())
  return scheduled(
    clip_by_agc(agc),
    *scales,
    last,
    schedule=learning_rate(lr, schedule, warmup, anneal),
    check_names=groups.check,
  )
