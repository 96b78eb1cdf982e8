"""One gymnasium environment: finding, making and wrapping it."""

import ast
import contextlib
import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Annotated, Any, TypeVar

import gymnasium

from dreamer_nnx import meanings, spaces, streams
from dreamer_nnx.envs import contract, wrappers
from dreamer_nnx.envs.faults import EnvError, describe
from dreamer_nnx.envs.pacing import RATES
from dreamer_nnx.envs.vector import GymVectorEnv
from dreamer_nnx.errors import UserError
from dreamer_nnx.interface import Interface
from dreamer_nnx.schema import SIDE, OneOf, Range, suggest
from dreamer_nnx.streams import Stream

MAX_TIMEOUT = 1e6
Number = Annotated[int, Range(1)]
Limit = Annotated[int, Range(0)]
Vector = TypeVar('Vector', bound=GymVectorEnv)


@dataclasses.dataclass(frozen=True)
class Options:
  """Options of every builder of gymnasium environments.

  Args:
    workers: Place of the environments: `sync` for this process, `async` for a
      process each, `ray` for actors of a Ray cluster.
    repeat: How often each action is taken; rewards are added up. All of them
      are one environment step.
    image_size: Height and width in pixels that images are scaled to; () keeps
      theirs.
    render: Adds the drawing as the observation 'image'.
    time_limit: Cuts episodes after so many steps of the environment itself,
      before `repeat`; 0 keeps its own limit.
    max_restarts: Crashes of one environment in a row that are survived, by a
      new one; 0 for none.
    step_timeout: Seconds that a step, a reset or the start of an environment
      may take; 0 for any.
    control_rate: Steps that the agent takes a second, for what runs in real
      time: each begins at its deadline, and deadlines that are missed are
      logged; 0 for as many as there is time for.
  """

  workers: Annotated[str, OneOf('sync', 'async', 'ray')] = 'sync'
  repeat: Number = 1
  image_size: Annotated[tuple[int, ...], Range(1, SIDE)] = ()
  render: bool = False
  time_limit: Limit = 0
  max_restarts: Limit = 10
  step_timeout: Annotated[float, Range(0, MAX_TIMEOUT)] = 600.0
  control_rate: Annotated[float, RATES] = 0.0

  def __post_init__(self):
    if self.image_size and len(self.image_size) != 2:
      raise UserError(
        'must be (height, width) in pixels, or () to keep images as they are.',
        'image_size',
        self.image_size,
      )


def with_options(builder: Callable[..., Any]) -> Callable[..., Any]:
  """Adds the fields of `Options` to a builder, which takes `options`."""
  fields = inspect.signature(Options).parameters
  parameters = dict(inspect.signature(builder).parameters)
  del parameters['options']

  @functools.wraps(builder)
  def build(**arguments: Any) -> Any:
    chosen = {name: arguments.pop(name) for name in fields if name in arguments}
    return builder(options=Options(**chosen), **arguments)

  keyword = inspect.Parameter.KEYWORD_ONLY
  added = [x.replace(kind=keyword) for x in fields.values()]
  build.__signature__ = inspect.Signature([*parameters.values(), *added])
  hints = {name: x.annotation for name, x in fields.items()}
  kept = {k: v for k, v in builder.__annotations__.items() if k != 'options'}
  build.__annotations__ = {**kept, **hints}
  meanings.pass_on(build, Options)
  return build


def vectorize(
  create: Callable[[int], gymnasium.Env],
  options: Options,
  *,
  num_envs: int,
  seed: int,
  where: str,
  kind: type[Vector] = GymVectorEnv,
) -> Vector:
  """Makes W environments by a function that makes number i.

  Args:
    create: A dataclass with a `seed` gets another one for an environment in
      place of one that crashed.
    where: Beginning of error messages.
    kind: The class of the vector of environments.

  Raises:
    EnvError: If an environment does not start, with its own words.
    UserError: If it starts but does not fit.
  """
  try:
    return kind(
      Wrapped(create, options, where),
      num_envs,
      seed,
      workers=options.workers,
      max_restarts=options.max_restarts,
      step_timeout=options.step_timeout,
      where=where,
      repeat=options.repeat,
    )
  except UserError as error:
    error.within(where)
    raise
  except gymnasium.error.DependencyNotInstalled:
    raise
  except Exception as error:
    raise EnvError(describe(error), where) from error


@dataclasses.dataclass(frozen=True)
class Wrapped:
  """Makes environment number i with all its wrappers; can be pickled.

  Called with a seed, too, it makes one in place of another.
  """

  create: Callable[[int], gymnasium.Env]
  options: Options
  where: str

  def __call__(self, index: int, again: int | None = None) -> gymnasium.Env:
    create = self.create
    if again is not None and _is_seeded(create):
      seed = streams.seed(create.seed, Stream.MAKE, again)
      create = dataclasses.replace(create, seed=seed)
    env = create(index)
    if not isinstance(env, gymnasium.Env):
      raise UserError(
        f'it made a {type(env).__name__}, not a gymnasium.Env.', self.where
      )
    try:
      return self._wrap(env)
    except BaseException:
      with contextlib.suppress(Exception):
        env.close()
      raise

  def _wrap(self, env: gymnasium.Env) -> gymnasium.Env:
    options, where = self.options, self.where
    env = contract.checked(env)
    if options.time_limit:
      env = gymnasium.wrappers.TimeLimit(env, options.time_limit)
    if options.repeat > 1:
      env = wrappers.Repeat(env, options.repeat)
    observed, taken, drawn = env.observation_space, env.action_space, ()
    env = wrappers.Flat(env, where)
    if options.render:
      env = wrappers.Render(env, where, options.image_size)
      drawn = env.observation_space['image'].shape
    if options.image_size:
      env = wrappers.Resize(env, where, options.image_size)
    env.interface = Interface(observed, taken, options.image_size, drawn)
    spaces.check_keys(env.observation_space, env.interface.action_space, where)
    return env


def _is_seeded(create: Callable) -> bool:
  """Tells whether this is a dataclass that another seed can be given to."""
  if not dataclasses.is_dataclass(create):
    return False
  given = [field.name for field in dataclasses.fields(create) if field.init]
  return 'seed' in given and isinstance(create.seed, int)


@dataclasses.dataclass(frozen=True)
class Maker:
  """Calls a function that makes one environment.

  The function may name `seed` (a different one for each environment) and
  `index`. Fields of these names take their place, alike for all environments.
  """

  function: Callable[..., gymnasium.Env]
  fields: dict[str, Any]
  seed: int

  def __call__(self, index: int) -> gymnasium.Env:
    seed = streams.seed(self.seed, Stream.MAKE, index)
    offered = {'seed': seed, 'index': index}
    named = inspect.signature(self.function).parameters
    given = {k: v for k, v in offered.items() if k in named}
    return self.function(**{**given, **self.fields})


def maker(
  make: str, arguments: tuple[str, ...], seed: int, where: str
) -> Maker:
  """Makes environments by the function that a config names.

  Args:
    make: 'package.module:function'.
    arguments: Of the function, see `literals`.
    where: Config path of the fields `make` and `arguments`.

  Raises:
    UserError: There is no such function, or an argument is not a literal.
  """
  function = load(make, f'{where}.make')
  if not callable(function):
    raise UserError('it cannot be called.', f'{where}.make', make)
  return Maker(function, literals(arguments, f'{where}.arguments'), seed)


def load(path: str, where: str) -> Any:
  """Imports the attribute that 'package.module:attribute' names.

  Raises:
    UserError: If there is no such module or attribute.
  """
  module, _, name = path.partition(':')
  if not module or not name:
    raise UserError("must be 'package.module:attribute'.", where, path)
  loaded = load_module(module, f'{where} = {path!r}')
  if not hasattr(loaded, name):
    raise UserError(
      f'{module} has no {name!r}.{suggest(name, vars(loaded))}', where, path
    )
  return getattr(loaded, name)


def load_module(name: str, where: str) -> ModuleType:
  """Imports a module that a config names.

  What the module itself raises is passed on, with a note of the place.

  Raises:
    UserError: If there is none, or one that it imports is missing.
  """
  if not all(part.isidentifier() for part in name.split('.')):
    raise UserError(f'{name!r} is not the name of a module.', where)
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as error:
    raise UserError(
      f'there is no module {error.name!r}. Is it installed, or in a folder on '
      'PYTHONPATH?',
      where,
    ) from error
  except Exception as error:
    error.add_note(f'while importing {name!r} for {where}')
    raise


def literals(arguments: tuple[str, ...], where: str) -> dict[str, Any]:
  """Parses keyword arguments such as `size=3` or `map=["SF", "HG"]`.

  Raises:
    UserError: One is not `name=value` with a Python literal for the value.
  """
  fields = {}
  for argument in arguments:
    name, equals, value = argument.partition('=')
    try:
      if not equals or not name.strip().isidentifier():
        raise ValueError
      fields[name.strip()] = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError) as error:
      raise UserError(
        f"{argument!r} is not 'name=value' with a Python literal for the "
        'value, such as \'map_name="8x8"\'.',
        where,
      ) from error
  return fields
