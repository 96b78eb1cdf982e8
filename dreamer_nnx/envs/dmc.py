"""`dmc`: tasks of the DeepMind Control Suite, from state or pixels."""

import dataclasses
from typing import Annotated, Any

import gymnasium
import numpy as np

from dreamer_nnx import streams
from dreamer_nnx.envs import (
  dmc_tasks,
  mujoco_drawing,
  packages,
  single,
  wrappers,
)
from dreamer_nnx.envs.dm_env_adapter import FromDmEnv
from dreamer_nnx.envs.dm_env_specs import plain_name
from dreamer_nnx.envs.vector import GymVectorEnv
from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import OneOf, Pixels, Range
from dreamer_nnx.slots import ENV
from dreamer_nnx.streams import Stream

WHERE = 'config.env.dmc'
# The largest number of MuJoCo, which stands for no limit.
LARGEST = 1e10


@ENV.register('dmc')
@single.with_options
def dmc(
  *,
  num_envs,
  seed,
  task: str = 'walker_walk',
  proprio: bool = True,
  pixels: bool = False,
  size: Pixels = (64, 64),
  camera: Annotated[int, Range(-1)] = -1,
  render_quality: Annotated[str, OneOf('reference', 'fast')] = 'reference',
  options: single.Options,
) -> GymVectorEnv:
  """Makes W environments of one task of dm_control.

  An episode of the suite is cut off after 1000 steps, which is no terminal
  step; none but those of the domain `lqr` have terminal steps. Images are
  drawn only with `pixels`, after the last of `repeat` steps.
  Source: Tassa et al. 2018 (arXiv 1801.00690).

  Args:
    task: Domain and task: 'walker_walk', 'ball_in_cup_catch' or 'cup_catch',
      'humanoid_CMU_run', 'manip_lift_brick', 'rodent_run_gaps'.
    proprio: Observes positions, velocities and so on, each by its name in
      dm_control, with underscores for slashes.
    pixels: Observes an image; see MUJOCO_GL in docs/suites.md.
    size: Height and width of the image in pixels.
    camera: Number of the camera; -1 for the first, in the domain `quadruped`
      for number 2, and for number 4 with rodents.
    render_quality: `reference` draws as dm_control does; `fast` has a smaller
      map of shadows, nearly twice as fast without a GPU.

  Raises:
    UserError: There is no such task or camera, nothing is observed, MuJoCo
      cannot draw, or dm_control is not installed.
  """
  packages.check('dmc', dmc_tasks.WHERE)
  if not (proprio or pixels):
    raise UserError('nothing is observed: set proprio or pixels.', WHERE)
  if len(size) != 2:
    raise UserError('must be (height, width) in pixels.', 'size', size)
  maker = Maker(
    task, proprio, pixels, size, camera, render_quality == 'fast', seed, options
  )
  # Steps are counted and repeated below the pictures.
  rest = dataclasses.replace(options, repeat=1, time_limit=0)
  made = single.vectorize(
    maker, rest, num_envs=num_envs, seed=seed, where=maker.where
  )
  made.repeat = options.repeat
  return made


@dataclasses.dataclass(frozen=True)
class Maker:
  """Makes environment number i; can be pickled."""

  task: str
  proprio: bool
  pixels: bool
  size: tuple[int, ...]
  camera: int
  fast: bool
  seed: int
  options: single.Options

  @property
  def where(self) -> str:
    return f'{WHERE}.task = {self.task!r}'

  def __call__(self, index: int) -> gymnasium.Env:
    loaded = dmc_tasks.load(
      self.task,
      streams.seed(self.seed, Stream.MAKE, index),
      f'{WHERE}.task',
      cameras=self.pixels and self.proprio,
      pixels=self.pixels,
      fast=self.fast,
      size=self.size,
    )
    camera = loaded.camera if self.camera == -1 else self.camera
    count = loaded.env.physics.model.ncam
    if camera >= count:
      text = f'{self.task} has {count} cameras, from 0.'
      raise UserError(text, f'{WHERE}.camera', camera)
    env = Drawn(
      loaded.env, self.where, rename=underscored, reseed=loaded.reseed
    )
    env.size, env.camera = self.size, camera
    env.action_space = unlimited(env.action_space)
    if self.options.time_limit:
      env = gymnasium.wrappers.TimeLimit(env, self.options.time_limit)
    if self.options.repeat > 1:
      env = wrappers.Repeat(env, self.options.repeat)
    return Pictured(env, self.proprio, self.where) if self.pixels else env


def underscored(key: str) -> str:
  """Names an observation as the reference does."""
  return plain_name(key.replace('/', '_'))


def unlimited(space: gymnasium.spaces.Box) -> gymnasium.spaces.Box:
  """Takes away the limits of a control that MuJoCo does not limit."""
  low = np.where(space.low <= -LARGEST, -np.inf, space.low)
  high = np.where(space.high >= LARGEST, np.inf, space.high)
  return gymnasium.spaces.Box(low, high, space.shape, space.dtype)


class Drawn(FromDmEnv):
  """Draws a task of dm_control when it is told to.

  Attributes:
    size: Height and width of the picture.
    camera: Number of the camera.
  """

  size, camera = (64, 64), 0

  def render(self) -> np.ndarray:
    height, width = self.size
    # Some tasks make their physics anew in each episode.
    physics = self.dm_env.physics
    try:
      return physics.render(height, width, camera_id=self.camera)
    except Exception as error:
      raise mujoco_drawing.advice(error, self.where) from error


class Pictured(gymnasium.Wrapper):
  """Observes the picture as 'image'.

  Args:
    proprio: Whether it is beside the observations, or in their place.
    where: Beginning of error messages.

  Raises:
    UserError: MuJoCo cannot draw here.
  """

  def __init__(self, env: gymnasium.Env, proprio: bool, where: str) -> None:
    super().__init__(env)
    image = gymnasium.spaces.Box(0, 255, env.render().shape, np.uint8)
    self._proprio = proprio
    others = self.env.observation_space.spaces if proprio else {}
    if 'image' in others:
      raise UserError("it observes an 'image' already.", where)
    self.observation_space = gymnasium.spaces.Dict({**others, 'image': image})

  def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
    obs, info = self.env.reset(seed=seed, options=options)
    return self._observed(obs), info

  def step(self, action: Any) -> tuple:
    obs, *rest = self.env.step(action)
    return self._observed(obs), *rest

  def _observed(self, obs):
    others = obs if self._proprio else {}
    return {**others, 'image': self.env.render()}
