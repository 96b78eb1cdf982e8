"""`gymnasium`: any environment that is registered with gymnasium."""

import copy
import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Annotated, Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from dreamer_nnx import schema
from dreamer_nnx.envs import single
from dreamer_nnx.envs.vector import GymVectorEnv
from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import Imports
from dreamer_nnx.slots import ENV

WHERE = 'config.env.gymnasium'
# The extra that brings what a family of environments needs, by the module
# that the family lives in.
EXTRAS = {
  'gymnasium.envs.box2d': 'dreamer-nnx[box2d]',
  'gymnasium.envs.classic_control': 'dreamer-nnx[classic]',
  'gymnasium.envs.toy_text': 'dreamer-nnx[classic]',
  'gymnasium.envs.mujoco': 'gymnasium[mujoco]',
}


@ENV.register('gymnasium')
@single.with_options
def gymnasium_suite(
  *,
  num_envs,
  seed,
  id: Annotated[str, Imports(':')] = 'CartPole-v1',
  arguments: Annotated[tuple[str, ...], Imports()] = (),
  options: single.Options,
) -> GymVectorEnv:
  """Makes W copies of one environment, by its id.

  Args:
    id: An id of gymnasium's registry, or 'module:NAME', which imports the
      module; NAME is an id that is registered then ('ale_py:ALE/Pong-v5'), or
      else a function of the module that makes an environment.
    arguments: Passed on when it is made, as 'name=value' with a Python
      literal for the value ('is_slippery=False').

  Raises:
    UserError: For an unknown id, for fields out of range, for packages that
      are not installed, and for spaces that cannot be read.
    EnvError: If the environment does not start.
  """
  fields = single.literals(arguments, f'{WHERE}.arguments')
  return _build(id, fields, options, num_envs, seed)


@dataclasses.dataclass(frozen=True)
class Registered:
  """Makes the environment of a registry entry.

  The entry travels into worker processes, where the registry may lack it.
  """

  spec: EnvSpec
  fields: dict[str, Any]
  time_limit: int
  render: bool
  where: str

  def __call__(self, index: int) -> gymnasium.Env:
    limit = {'max_episode_steps': self.time_limit} if self.time_limit else {}
    draw = {'render_mode': 'rgb_array'} if self.render else {}
    # A host resets before it steps, so nothing has to enforce it.
    spec = copy.copy(self.spec)
    spec.order_enforce = False
    try:
      return gymnasium.make(
        spec, disable_env_checker=True, **limit, **draw, **self.fields
      )
    except gymnasium.error.DependencyNotInstalled:
      raise
    except (gymnasium.error.Error, TypeError) as error:
      raise UserError(str(error), self.where) from error


def _build(id, fields, options, num_envs, seed):
  where = f'{WHERE}.id = {id!r}'
  found = _found(id)
  if callable(found):
    create = single.Maker(found, fields, seed)
  else:
    limit, draw = options.time_limit, options.render
    create = Registered(found, fields, limit, draw, where)
    options = dataclasses.replace(options, time_limit=0)
  try:
    return single.vectorize(
      create, options, num_envs=num_envs, seed=seed, where=where
    )
  except gymnasium.error.DependencyNotInstalled as error:
    raise UserError(_missing(create, error), where) from error


def _found(id: str) -> EnvSpec | Callable[..., gymnasium.Env]:
  """Finds the registry entry, or the function, that an id names."""
  module, colon, name = id.partition(':')
  loaded = None
  if colon:
    loaded = single.load_module(module, f'{WHERE}.id = {id!r}')
  try:
    return gymnasium.spec(name if colon else id)
  except gymnasium.error.Error as error:
    function = getattr(loaded, name, None)
    if callable(function):
      return function
    raise UserError(_unknown(id, loaded, error), f'{WHERE}.id', id) from error


def _unknown(
  id: str, loaded: ModuleType | None, error: gymnasium.error.Error
) -> str:
  name = id.partition(':')[2] if loaded else id
  deprecated = isinstance(error, gymnasium.error.DeprecatedEnv)
  if loaded:
    known = {*gymnasium.registry, *vars(loaded)}
    reading = str(error) if deprecated else f'no id {name!r} is registered'
    return (
      f'{reading} once {loaded.__name__!r} is imported, and the module has no '
      f'function {name!r} that makes an environment.'
      f'{schema.suggest(name, known)}'
    )
  if deprecated:
    return str(error)
  hint = schema.suggest(name, gymnasium.registry) or (
    " If another package registers it, write 'package:id'; if it is yours, "
    "'package.module:make_env'."
  )
  return f'no environment has this id.{hint}'


def _missing(create, error):
  text = f'a package that it needs is not installed ({error}).'
  entry = create.spec.entry_point if isinstance(create, Registered) else ''
  for module, extra in EXTRAS.items():
    if isinstance(entry, str) and entry.startswith(module):
      return f"{text} Install it: pip install '{extra}'"
  return text
