"""Clocks over step counters, which say when something is due.

Their `state()` can be written as JSON; `restore` continues exactly there.
"""

from fractions import Fraction
from typing import Any

State = dict[str, Any]


class Every:
  """Fires when the counter has passed a multiple of `interval_steps`.

  However many multiples were passed since the last call, it fires once.

  Args:
    interval_steps: 0 never fires, below 0 fires at each call.
    first: Whether the first call fires, wherever the counter stands.
  """

  def __init__(self, interval_steps: int, first: bool = False):
    self._interval = int(interval_steps)
    self._first = first
    self._previous: int | None = None

  def __call__(self, step: int) -> bool:
    previous, self._previous = self._previous, int(step)
    if self._interval <= 0:
      return self._interval < 0
    if previous is None:
      return self._first
    return self._previous // self._interval > previous // self._interval

  def state(self) -> State:
    return {'previous': self._previous}

  def restore(self, state: State) -> None:
    self._previous = _count(state['previous'])


class Ratio:
  """Turns counted steps into a number of updates.

    updates = ⌊credit + ratio (step - previous)⌋,   credit ← the remainder

  The first call sets the origin and asks for one update. The credit is a
  fraction, so nothing drifts: after n steps, 1 + ⌊ratio n⌋ updates were asked
  for.

  Args:
    ratio: Updates per step; a fraction is taken as it is, a float as the
      nearest one with a denominator of up to 10^9, so 0.1 is a tenth.

  Raises:
    ValueError: The ratio is negative, or a later call steps back.
  """

  def __init__(self, ratio: float | Fraction):
    if not ratio >= 0:
      raise ValueError(f'ratio = {ratio!r}: must be 0 or more.')
    self._ratio = Fraction(ratio)
    if isinstance(ratio, float):
      self._ratio = self._ratio.limit_denominator(10**9)
    self._previous: int | None = None
    self._credit = Fraction(0)

  def __call__(self, step: int) -> int:
    if not self._ratio:
      return 0
    previous, step = self._previous, int(step)
    if previous is not None and step < previous:
      raise ValueError(
        f'step = {step}: must not be below the last, {previous}.'
      )
    self._previous = step
    if previous is None:
      return 1
    self._credit += self._ratio * (step - previous)
    updates = int(self._credit)
    self._credit -= updates
    return updates

  def state(self) -> State:
    return {'previous': self._previous, 'credit': str(self._credit)}

  def restore(self, state: State) -> None:
    self._previous = _count(state['previous'])
    # Read as digits alone: `Fraction` would work out '1e1000000000'.
    numbers = str(state['credit']).partition('/')[::2]
    above, below = int(numbers[0]), int(numbers[1] or 1)
    if not 0 <= above < below:
      raise ValueError(f'credit = {above}/{below}: is no part of an update.')
    self._credit = Fraction(above, below)


def _count(value: Any) -> int | None:
  if value is None or (type(value) is int and value >= 0):
    return value
  raise ValueError(f'previous = {value!r}: is no counter.')
