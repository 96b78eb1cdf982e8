"""Steps of the simulator, which may be several for each environment step."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Frames:
  """Counts simulated steps: `repeat` for each environment step.

  Resets count as they do among environment steps, so that this is the axis
  over which results are published.

  Args:
    repeat: Simulated steps of an environment step; 0 if they are not told.
    env_steps, frames: Counters where counting by this `repeat` began.
  """

  repeat: int = 0
  env_steps: int = 0
  frames: int = 0

  @classmethod
  def of(
    cls,
    envs: Any,
    env_steps: int = 0,
    counters: Mapping[str, Any] | None = None,
  ) -> 'Frames':
    """Counts those of environments, on from the counters of a checkpoint."""
    repeat = getattr(envs, 'repeat', 0)
    before = (counters or {}).get('frames', env_steps * repeat)
    return cls(repeat, env_steps, before)

  def metrics(self, env_steps: int) -> dict[str, int]:
    """The counter `frames` at a step; none if they are not told."""
    if not self.repeat:
      return {}
    return {'frames': self.frames + self.repeat * (env_steps - self.env_steps)}


def counted(env_steps: int, offline_updates: int) -> str:
  """Says in words how far a run is."""
  text = f'{env_steps} environment steps'
  if not offline_updates:
    return text
  return f'{text} and {offline_updates} offline updates'
