"""`gymnasium`: any environment that is registered with gymnasium."""

import ast
import dataclasses
import difflib
from typing import Annotated, Any

import gymnasium

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
def gymnasium_suite(
  *,
  num_envs,
  seed,
  id: Annotated[str, Imports(':')] = 'CartPole-v1',
  arguments: Annotated[tuple[str, ...], Imports()] = (),
  workers: str = 'sync',
  repeat: int = 1,
  image_size: tuple[int, ...] = (),
  render: bool = False,
  time_limit: int = 0,
  max_restarts: int = 10,
  step_timeout: float = 600.0,
) -> GymVectorEnv:
  """W copies of one environment; see `single.Options` for the other fields.

  Args:
    id: An id of gymnasium's registry, with the module that registers it in
      front if need be ('ale_py:ALE/Pong-v5'), or 'package.module:make_env'.
    arguments: Passed on when it is made, as 'name=value' with a Python
      literal for the value ('is_slippery=False').

  Raises:
    ValueError: For an unknown id, for fields out of range, for packages that
      are not installed.
    EnvError: If the environment does not start.
    TypeError: For spaces that cannot be read.
  """
  options = single.Options(
    workers=workers,
    repeat=repeat,
    image_size=tuple(image_size),
    render=render,
    time_limit=time_limit,
    max_restarts=max_restarts,
    step_timeout=step_timeout,
  )
  options.check(WHERE)
  return _build(id, _literals(arguments), options, num_envs, seed)


@dataclasses.dataclass(frozen=True)
class Registered:
  """Makes the environment of a registry entry.

  The entry travels into worker processes, where the registry may lack it.
  """

  spec: gymnasium.envs.registration.EnvSpec
  fields: dict[str, Any]
  time_limit: int
  render: bool
  where: str

  def __call__(self, index: int) -> gymnasium.Env:
    limit = {'max_episode_steps': self.time_limit} if self.time_limit else {}
    draw = {'render_mode': 'rgb_array'} if self.render else {}
    try:
      return gymnasium.make(
        self.spec, disable_env_checker=True, **limit, **draw, **self.fields
      )
    except gymnasium.error.DependencyNotInstalled:
      raise
    except (gymnasium.error.Error, TypeError) as error:
      raise UserError(f'{self.where}: {error}') from error


def _build(id, fields, options, num_envs, seed):
  where = f'{WHERE}.id = {id!r}'
  function = _function(id)
  if function is not None:
    create = single.Maker(function, fields, seed)
  else:
    limit, draw = options.time_limit, options.render
    create = Registered(_spec(id), fields, limit, draw, where)
    options = dataclasses.replace(options, time_limit=0)
  try:
    return single.vectorize(
      create, options, num_envs=num_envs, seed=seed, where=where
    )
  except gymnasium.error.DependencyNotInstalled as error:
    raise UserError(_missing(create, where, error)) from error


def _function(id):
  """The function behind 'package.module:make_env', None for other ids."""
  module, colon, name = id.partition(':')
  if not colon:
    return None
  return getattr(single.load_module(module, f'{WHERE}.id = {id!r}'), name, None)


def _spec(id):
  try:
    return gymnasium.spec(id)
  except gymnasium.error.Error as error:
    module, colon, name = id.rpartition(':')
    near = difflib.get_close_matches(name, list(gymnasium.registry), 1)
    hint = f' Did you mean {module + colon + near[0]!r}?' if near else ''
    text = f'no environment has this id.{hint}'
    if isinstance(error, gymnasium.error.DeprecatedEnv):
      text = str(error)
    elif not near:
      text += (
        " If another package registers it, write 'package:id'; if it is "
        "yours, 'package.module:make_env'."
      )
    raise UserError(f'{WHERE}.id = {id!r}: {text}') from error


def _literals(arguments):
  fields = {}
  for argument in arguments:
    name, equals, value = argument.partition('=')
    try:
      if not equals or not name.isidentifier():
        raise ValueError
      fields[name] = ast.literal_eval(value)
    except (ValueError, SyntaxError) as error:
      raise UserError(
        f"{WHERE}.arguments: {argument!r} is not 'name=value' with a Python "
        'literal for the value, such as \'map_name="8x8"\'.'
      ) from error
  return fields


def _missing(create, where, error):
  text = f'{where}: a package that it needs is not installed ({error}).'
  entry = create.spec.entry_point if isinstance(create, Registered) else ''
  for module, extra in EXTRAS.items():
    if isinstance(entry, str) and entry.startswith(module):
      return f"{text} Install it: pip install '{extra}'"
  return text
