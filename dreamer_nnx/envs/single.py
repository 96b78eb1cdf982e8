"""How one gymnasium environment is found, made and wrapped."""

import dataclasses
import importlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import gymnasium

from dreamer_nnx import spaces, streams
from dreamer_nnx.envs import wrappers
from dreamer_nnx.envs.faults import EnvError, describe
from dreamer_nnx.envs.vector import HUBS, GymVectorEnv
from dreamer_nnx.errors import UserError
from dreamer_nnx.streams import Stream

MAX_TIMEOUT = 1e6


@dataclasses.dataclass(frozen=True)
class Options:
  """What every builder of gymnasium environments can be asked for.

  `repeat` takes each action so many times; `image_size` (height, width)
  scales images; `render` adds the drawing as the observation 'image';
  `time_limit` cuts episodes after so many steps of the environment itself
  (before `repeat`; 0 for its own limit). `step_timeout` is how many seconds
  a step, a reset or the start of an environment may take (0 for any).
  """

  workers: str = 'sync'
  repeat: int = 1
  image_size: tuple[int, ...] = ()
  render: bool = False
  time_limit: int = 0
  max_restarts: int = 10
  step_timeout: float = 600.0

  def check(self, where: str) -> None:
    """Refuses values out of range, naming `where` and the field.

    Raises:
      ValueError: For the first bad value.
    """
    if self.workers not in HUBS:
      raise UserError(
        f"{where}.workers = {self.workers!r}: it must be 'sync', 'async' or "
        "'ray'."
      )
    least = {'repeat': 1, 'time_limit': 0, 'max_restarts': 0}
    for name, low in least.items():
      if getattr(self, name) < low:
        raise UserError(
          f'{where}.{name} = {getattr(self, name)}: it must be at least {low}.'
        )
    if not 0 <= self.step_timeout <= MAX_TIMEOUT:
      raise UserError(
        f'{where}.step_timeout = {self.step_timeout}: it must be a number of '
        f'seconds up to {MAX_TIMEOUT:g}, or 0 for no limit.'
      )
    size = self.image_size
    if size and (len(size) != 2 or min(size) < 1):
      raise UserError(
        f'{where}.image_size = {size}: it must be (height, width) in pixels, '
        'or () to keep the images as they are.'
      )


def vectorize(
  create: Callable[[int], gymnasium.Env],
  options: Options,
  *,
  num_envs: int,
  seed: int,
  where: str,
) -> GymVectorEnv:
  """W environments from a maker of number i.

  Args:
    where: What errors begin with.

  Raises:
    EnvError: If an environment does not start, with its own words.
    ValueError, TypeError: If it starts but does not fit.
  """
  try:
    return GymVectorEnv(
      Wrapped(create, options, where),
      num_envs,
      seed,
      workers=options.workers,
      max_restarts=options.max_restarts,
      step_timeout=options.step_timeout,
      where=where,
    )
  except (ValueError, TypeError, gymnasium.error.DependencyNotInstalled):
    raise
  except Exception as error:
    said = describe(error)
    said = said if said.startswith(where) else f'{where}: {said}'
    raise EnvError(said) from error


@dataclasses.dataclass(frozen=True)
class Wrapped:
  """Makes environment number i with all its wrappers; can be pickled."""

  create: Callable[[int], gymnasium.Env]
  options: Options
  where: str

  def __call__(self, index: int) -> gymnasium.Env:
    env = self.create(index)
    if not isinstance(env, gymnasium.Env):
      raise UserError(
        f'{self.where}: it made a {type(env).__name__}, not a gymnasium.Env.'
      )
    try:
      return self._wrap(env)
    except BaseException:
      env.close()
      raise

  def _wrap(self, env):
    options, where = self.options, self.where
    if options.time_limit:
      env = gymnasium.wrappers.TimeLimit(env, options.time_limit)
    if options.repeat > 1:
      env = wrappers.Repeat(env, options.repeat)
    env = wrappers.Flat(env, where)
    if options.render:
      env = wrappers.Render(env, where, options.image_size)
    if options.image_size:
      env = wrappers.Resize(env, options.image_size)
    spaces.check_keys(env.observation_space, env.action_space, where)
    return wrappers.Rescale(env)


@dataclasses.dataclass(frozen=True)
class Maker:
  """Calls a function that makes one environment.

  The function may name `seed` (a different one for each environment) and
  `index`.
  """

  function: Callable[..., gymnasium.Env]
  fields: dict[str, Any]
  seed: int

  def __call__(self, index: int) -> gymnasium.Env:
    seed = streams.seed(self.seed, Stream.MAKE, index)
    offered = {'seed': seed, 'index': index}
    named = inspect.signature(self.function).parameters
    given = {k: v for k, v in offered.items() if k in named}
    return self.function(**{**self.fields, **given})


def load(path: str, where: str) -> Any:
  """The attribute that 'package.module:attribute' names.

  Raises:
    ValueError: If there is no such module or attribute.
  """
  module, _, name = path.partition(':')
  if not module or not name:
    raise UserError(
      f"{where} = {path!r}: it must be 'package.module:attribute'."
    )
  loaded = load_module(module, f'{where} = {path!r}')
  if not hasattr(loaded, name):
    raise UserError(f'{where} = {path!r}: {module} has no {name!r}.')
  return getattr(loaded, name)


def load_module(name: str, where: str) -> ModuleType:
  """Imports a module that a config names.

  Raises:
    ValueError: If there is none, or one that it imports is missing.
  """
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as error:
    raise UserError(
      f'{where}: there is no module {error.name!r}. Is it installed, or in a '
      'folder on PYTHONPATH?'
    ) from error
