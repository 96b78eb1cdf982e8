"""Learning rates over updates."""

from collections.abc import Callable, Collection
from typing import Annotated, NamedTuple

import jax
import optax

from dreamer_nnx import registry
from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import OneOf, Range


def _const(lr, steps):
  del steps
  return optax.constant_schedule(lr)


def _linear(lr, steps):
  return optax.linear_schedule(lr, 0.1 * lr, steps)


def _cosine(lr, steps):
  # The final fraction is 0.1 * lr, as the reference has it: almost 0.
  return optax.cosine_decay_schedule(lr, steps, 0.1 * lr)


class Scheduled(NamedTuple):
  """A gradient transformation whose learning rate can be asked for.

  Args:
    learning_rate: Returns the rate of the update made from a state.
    check_names: Raises UserError if it does not fit the parameters of these
      names.
  """

  init: optax.TransformInitFn
  update: optax.TransformUpdateFn
  learning_rate: Callable[[optax.OptState], jax.Array]
  check_names: Callable[[Collection[str]], None]


def scheduled(
  *transformations: optax.GradientTransformation,
  schedule: optax.Schedule,
  check_names: Callable[[Collection[str]], None],
) -> Scheduled:
  """Chains transformations, with the learning rate at the end."""
  chain = optax.chain(*transformations, optax.scale_by_learning_rate(schedule))
  rate = lambda state: schedule(state[-1].count)
  return Scheduled(chain.init, chain.update, rate, check_names)


SCHEDULES = {'const': _const, 'linear': _linear, 'cosine': _cosine}
Schedule = Annotated[str, OneOf(*SCHEDULES)]
# Updates are counted in int32.
MOST = 2**31 - 1
Updates = Annotated[int, Range(0, MOST)]
# The decay of a moving average; larger ones are about 1 in float32.
Decay = Annotated[float, Range(0, 0.999999)]


def learning_rate(
  lr: float, schedule: str, warmup: int, anneal: int
) -> optax.Schedule:
  """Makes a linear warm-up from 0 over `warmup` updates, then the schedule.

  Args:
    lr: Peak.
    schedule: const; linear to a tenth; or cosine to nearly 0.
    warmup: The first update has rate 0 where this is positive.
    anneal: Update at which the schedule ends.

  Raises:
    UserError: A schedule other than const without `anneal` > `warmup`.
  """
  make = registry.pick(SCHEDULES, schedule, 'schedule')
  if schedule != 'const' and anneal <= warmup:
    what = f'schedule {schedule!r} needs more updates than warmup = {warmup}.'
    raise UserError(what, 'anneal', anneal)
  after = make(lr, anneal - warmup)
  if not warmup:
    return after
  ramp = optax.linear_schedule(0.0, lr, warmup)
  return optax.join_schedules([ramp, after], [warmup])
