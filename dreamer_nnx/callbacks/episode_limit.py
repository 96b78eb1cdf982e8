"""`episode_limit`: ends training after a number of episodes."""

from collections.abc import Mapping
from typing import Annotated, Any

import jax
import numpy as np

from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import Range
from dreamer_nnx.slots import CALLBACK


@CALLBACK.register('episode_limit')
class EpisodeLimit:
  """Ends training with the step that ends its last episode.

  Episodes that a fault has cut do not count.

  Args:
    episodes: Training episodes of all environments together; 0 for as many as
      the environment says that it has, by its attribute `episodes`, as `bsuite`
      does.

  Raises:
    UserError: There are several processes, or the environment says no number.
  """

  def __init__(self, *, episodes: Annotated[int, Range(0)] = 0):
    self.episodes = episodes
    self.count = 0

  def stepped(
    self,
    trainer: Any,
    step: Mapping[str, np.ndarray],
    finished: list[dict[str, float]],
  ) -> None:
    del step
    if jax.process_count() > 1:
      raise UserError('counts the episodes of one process, there are several.')
    limit = self.episodes or getattr(trainer.envs, 'episodes', 0)
    if not limit:
      raise UserError(
        'must be given, for the environment does not say how many episodes '
        'it has.',
        'episodes',
        0,
      )
    self.count += len(finished)
    if self.count >= limit:
      trainer.stop_soon(f'{self.count} episodes are played')

  def state(self) -> dict[str, int]:
    return {'count': self.count}

  def restore(self, state: Mapping[str, int]) -> None:
    self.count = int(state['count'])
