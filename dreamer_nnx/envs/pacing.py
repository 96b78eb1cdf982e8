"""Environments stepped at a fixed rate, for what runs in real time."""

import time
from collections.abc import Callable, Mapping

import numpy as np

from dreamer_nnx.contracts import VectorEnv
from dreamer_nnx.envs.wrapped import WrappedVectorEnv
from dreamer_nnx.schema import Range

# Steps a second; 0 for as many as there is time for.
RATES = Range(1e-3, 1e4, zero=True)
# Share of a period by which a step may be late without having missed its
# deadline.
TOLERANCE = 0.05
# Share of a period up to which a late step leaves the other deadlines as they
# are. So this is the least time between two steps.
REGULAR = 0.5
# Seconds before a deadline from which on it is waited for awake, for the system
# wakes who sleeps a little late.
AWAKE = 5e-4


class Pacer:
  """Lets steps begin at a fixed rate, and counts those that begin too late.

    deadline n = origin + n / rate

  The origin is the first step, which has no deadline. A step that is late, for
  it was asked for too late or the system woke this thread too late, begins at
  once. Up to `REGULAR` of a period late, it changes no other deadline, so that
  the rate is kept. A later one is the new origin: nothing is caught up with, so
  no two steps are asked of an environment in a burst.

  Args:
    rate: Steps a second.
    clock: Seconds from any origin, never going back.
    sleep: Sleeps at least so many seconds; for 0 it lets others run.

  Attributes:
    missed: Number of steps that began more than `TOLERANCE` of a period late.
  """

  def __init__(
    self,
    rate: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
  ) -> None:
    self._period, self._clock, self._sleep = 1 / rate, clock, sleep
    self._origin: float | None = None
    self._steps = 0
    self._latest = 0.0
    self.missed = 0

  def restart(self) -> None:
    """Makes the next step the origin, however late it comes."""
    self._origin = None

  def begin(self) -> None:
    """Makes this moment the origin: the next deadline is a period later."""
    self._begin(self._clock())

  def wait(self) -> None:
    """Waits for the deadline of the next step."""
    now = self._clock()
    if self._origin is None:
      self._begin(now)
      return
    self._steps += 1
    deadline = self._origin + self._steps * self._period
    lateness = self._sleep_until(deadline, now) - deadline
    self._latest = max(self._latest, lateness)
    self.missed += lateness > TOLERANCE * self._period
    if lateness > REGULAR * self._period:
      self._begin(deadline + lateness)

  def lateness(self) -> float:
    """Seconds that the latest step was late, of those since the last call."""
    latest, self._latest = self._latest, 0.0
    return latest

  def _begin(self, now: float) -> None:
    self._origin, self._steps = now, 0

  def _sleep_until(self, deadline: float, now: float) -> float:
    while now < deadline:
      left = deadline - now
      self._sleep(left - AWAKE if left > AWAKE else 0)
      now = self._clock()
    return now


class Timed(WrappedVectorEnv):
  """A `VectorEnv` whose steps are timed.

  Attributes:
    times: Seconds of each step that did not reset all environments.
  """

  def __init__(self, env: VectorEnv) -> None:
    super().__init__(env)
    self.times: list[float] = []

  def step(self, action: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    begin = time.perf_counter()
    result = self._env.step(action)
    if not result['is_first'].all():
      self.times.append(time.perf_counter() - begin)
    return result


class PacedVectorEnv(WrappedVectorEnv):
  """A `VectorEnv` whose steps begin at a fixed rate.

  So an action is taken at its deadline, and what is observed then is acted on
  until the next one: the policy has a whole period. The time of a step that
  resets all environments does not count: the next deadline is a period after
  it. The first step after `reset`, or after `paused`, has no deadline.

  Args:
    rate: Steps of all environments together a second.
  """

  def __init__(
    self, env: VectorEnv, rate: float, pacer: Pacer | None = None
  ) -> None:
    super().__init__(env)
    self.rate, self._pacer = rate, pacer or Pacer(rate)

  def reset(self) -> dict[str, np.ndarray]:
    self._pacer.restart()
    return self._env.reset()

  def step(self, action: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    self._pacer.wait()
    result = self._env.step(action)
    if result['is_first'].all():
      self._pacer.begin()
    return result

  def timed(self) -> list[float]:
    """Times the steps from now on, without what they wait for."""
    self._env = Timed(self._env)
    return self._env.times

  def paused(self) -> None:
    """Takes note that time passes, until the next step, on purpose."""
    self._pacer.restart()

  def restore(self, state: dict) -> None:
    self._pacer.restart()
    self._env.restore(state)

  def stats(self) -> dict[str, float]:
    """Adds the deadlines missed so far, and how late the latest step was."""
    return self._env.stats() | {
      'env/missed_deadlines': float(self._pacer.missed),
      'env/lateness_ms': 1e3 * self._pacer.lateness(),
    }
