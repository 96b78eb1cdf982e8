"""Tasks of dm_control by name: the suite, manipulation and the rodents."""

import functools
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dreamer_nnx.envs import mujoco_drawing, packages
from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import suggest

WHERE = "config.env.name = 'dmc'"
# Short names of domains in the literature.
SHORT = {'cup': 'ball_in_cup'}
# The camera of a domain's images where it is not the first one.
CAMERAS = {'quadruped': 2, 'rodent': 4}
# Sides of the shadow map in the two qualities; that of dm_control's models.
SHADOWS = 512
# Largest picture of a model that says nothing of it.
HEIGHT, WIDTH = 480, 640


class Loaded(NamedTuple):
  """A task that was loaded.

  Args:
    env: The dm_env.Environment.
    reseed: Seeds what it draws from here on.
    camera: Number of the camera that its images are from.
  """

  env: Any
  reseed: Callable[[int], None]
  camera: int


def load(
  task: str,
  seed: int,
  path: str,
  *,
  cameras: bool,
  pixels: bool,
  fast: bool,
  size: tuple[int, ...],
) -> Loaded:
  """Makes the environment of a task.

  Args:
    path: The config path of the field that names it.
    cameras: Keeps what cameras of the task itself observe, which it renders
      in each step.
    pixels: Prefers a task's version that is meant to be seen.
    fast: Makes the map of shadows smaller.
    size: Height and width of pictures.

  Raises:
    UserError: There is no such task, or dm_control is not installed.
  """
  domain = task.partition('_')[0]
  if domain not in ('manip', 'rodent'):
    env = _of_suite(task, seed, path)
    vis = env.physics.model.vis
    _prepare(vis.quality, vis.global_, fast, size)
    return Loaded(env, env.task.random.seed, CAMERAS.get(domain, 0))
  draws = Apart(seed)
  if domain == 'manip':
    env = draws.call(_manipulation, task, seed, path, pixels)
  else:
    env = draws.call(_rodent, task, seed, path, cameras)
  env.reset = functools.partial(draws.call, env.reset)
  visual = env.task.root_entity.mjcf_model.visual
  _prepare(visual.quality, getattr(visual, 'global'), fast, size)
  if not cameras:
    turn_off_cameras(env.task)
  # What an environment observes is settled when an episode begins.
  env.reset()

  def reseed(seed):
    env.random_state.seed(seed)
    draws.seed(seed)

  return Loaded(env, reseed, CAMERAS.get(domain, 0))


class Apart:
  """A random state that stands for numpy's own while a function runs.

  Tasks of rodents draw from numpy's own, which all in a process share.
  """

  def __init__(self, seed: int) -> None:
    self.seed(seed)

  def seed(self, seed: int) -> None:
    # The seed alone is that of the task's other draws.
    self._state = np.random.RandomState([seed, 1]).get_state()

  def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what the function returns; numpy's own state is unchanged."""
    before = np.random.get_state()
    np.random.set_state(self._state)
    try:
      return function(*arguments)
    finally:
      self._state = np.random.get_state()
      np.random.set_state(before)


def load_module(name: str) -> types.ModuleType:
  """Imports a module of dm_control.

  Raises:
    UserError: It is not installed, or cannot draw as it is told to, which it
      tries when it is imported.
  """
  try:
    return packages.load(name, 'dmc', WHERE)
  except (AttributeError, RuntimeError) as error:
    raise mujoco_drawing.advice(error, WHERE) from error
  except UserError as error:
    cause = error.__cause__
    if cause is None or isinstance(cause, ModuleNotFoundError):
      raise
    raise mujoco_drawing.advice(cause, WHERE) from error


def _prepare(
  quality: Any, room: Any, fast: bool, size: tuple[int, ...]
) -> None:
  """Sets the shadows, and room for pictures, before anything is drawn."""
  if fast:
    quality.shadowsize = SHADOWS
  # What a model leaves out is None.
  room.offheight = max(room.offheight or HEIGHT, size[0])
  room.offwidth = max(room.offwidth or WIDTH, size[1])


def names_of_suite() -> dict[str, tuple[str, str]]:
  """Domain and task of each name, 'cup_catch' and 'ball_in_cup_catch'."""
  suite = load_module('dm_control.suite')
  short = {long: name for name, long in SHORT.items()}
  names = {
    f'{domain}_{task}': (domain, task) for domain, task in suite.ALL_TASKS
  }
  for domain, task in suite.ALL_TASKS:
    if domain in short:
      names[f'{short[domain]}_{task}'] = domain, task
  return names


def turn_off_cameras(task: Any) -> None:
  """Leaves out what the cameras of a composer task would observe."""
  observable = load_module('dm_control.composer.observation.observable')
  kinds = observable.MJCFCamera, observable.MujocoCamera
  for found in task.observables.values():
    if isinstance(found, kinds):
      found.enabled = False


def _of_suite(task, seed, path):
  names = names_of_suite()
  if task not in names:
    more = 'manip_lift_brick and rodent_run_gaps, too'
    raise _unknown(task, names, path, f'walker_walk; {more}')
  suite = load_module('dm_control.suite')
  return suite.load(*names[task], task_kwargs={'random': seed})


def _manipulation(task, seed, path, pixels):
  tasks = load_module('dm_control.manipulation')
  kinds = ('vision', 'features') if pixels else ('features', 'vision')
  name = task.removeprefix('manip_')
  for full in (name, *(f'{name}_{kind}' for kind in kinds)):
    if full in tasks.ALL:
      return tasks.load(full, seed=seed)
  raise _unknown(
    task, [f'manip_{x}' for x in tasks.ALL], path, 'manip_lift_brick'
  )


def _rodent(task, seed, path, cameras):
  module = 'dm_control.locomotion.examples.basic_rodent_2020'
  tasks = vars(load_module(module))
  known = [name for name in tasks if name.startswith('rodent_')]
  # The reference repeats the word.
  name = task.removeprefix('rodent_') if task not in known else task
  if name not in known:
    raise _unknown(task, known, path, 'rodent_run_gaps')
  if cameras:
    return tasks[name](random_state=seed)
  # The environment that the function makes would draw at once.
  composer = tasks['composer']
  dark = types.SimpleNamespace(
    Environment=functools.partial(_dark, composer.Environment)
  )
  make = types.FunctionType(tasks[name].__code__, {**tasks, 'composer': dark})
  return make(np.random.RandomState(seed))


def _dark(make, *, task, **arguments):
  turn_off_cameras(task)
  return make(task=task, **arguments)


def _unknown(task, names, path, examples):
  same = [x for x in names if x.lower() == task.lower()]
  text = f'dm_control has no such task.{suggest(task, same or names)}'
  return UserError(f'{text} Names are like {examples}.', path, task)
