"""`memory_maze`: find objects again in a maze that is seen from within."""

import dataclasses
from typing import Annotated, Any

import gymnasium

from dreamer_nnx import streams
from dreamer_nnx.envs import mujoco_drawing, old_gym, packages, single
from dreamer_nnx.envs.dm_env_adapter import FromDmEnv
from dreamer_nnx.envs.vector import GymVectorEnv
from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import OneOf
from dreamer_nnx.slots import ENV
from dreamer_nnx.streams import Stream

WHERE = 'config.env.memory_maze'
CHOSEN = "config.env.name = 'memory_maze'"


@ENV.register('memory_maze')
@single.with_options
def memory_maze(
  *,
  num_envs,
  seed,
  task: Annotated[str, OneOf('9x9', '11x11', '13x13', '15x15')] = '9x9',
  limit_terminal: bool = False,
  options: single.Options,
) -> GymVectorEnv:
  """Makes W mazes, each drawn anew in every episode; 64 x 64 pixels.

  The colour of the border says which object brings the next reward. Episodes
  are 1000, 2000, 3000 and 4000 steps long.
  Source: Pasukonis et al. 2022 (arXiv 2210.13383).

  Args:
    task: Width and height of the maze in cells.
    limit_terminal: Whether the time limit counts as terminal, as it does in
      danijar/dreamerv3; else an episode never is over.

  Raises:
    UserError: MuJoCo cannot draw here, or the package is not installed.
  """
  packages.check('memory-maze', CHOSEN)
  where = f'{WHERE}.task = {task!r}'
  return single.vectorize(
    Maker(task, limit_terminal, options.time_limit, seed, where),
    dataclasses.replace(options, time_limit=0),
    num_envs=num_envs,
    seed=seed,
    where=where,
  )


@dataclasses.dataclass(frozen=True)
class Maker:
  """Makes environment number i; can be pickled."""

  task: str
  limit_terminal: bool
  time_limit: int
  seed: int
  where: str

  def __call__(self, index: int) -> gymnasium.Env:
    def again(seed):
      # The generator of mazes is seeded when it is made, and never later.
      maze.close()
      maze.dm_env = self._made(seed)

    first = self._made(streams.seed(self.seed, Stream.MAKE, index))
    env = maze = FromDmEnv(first, self.where, reseed=again)
    if self.time_limit:
      env = gymnasium.wrappers.TimeLimit(env, self.time_limit)
    return LimitTerminal(env) if self.limit_terminal else env

  def _made(self, seed):
    try:
      with old_gym.replaced():
        tasks = packages.load('memory_maze.tasks', 'memory-maze', CHOSEN)
      make = getattr(tasks, f'memory_maze_{self.task}')
      return make(image_only_obs=True, seed=seed)
    except UserError:
      raise
    except Exception as error:
      # It draws as soon as it is made.
      raise mujoco_drawing.advice(error, self.where) from error


class LimitTerminal(gymnasium.Wrapper):
  """Says that an episode is over where it is cut off."""

  def step(self, action: Any) -> tuple:
    obs, reward, terminated, truncated, info = self.env.step(action)
    return obs, reward, terminated or truncated, False, info
