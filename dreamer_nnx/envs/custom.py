"""`custom`: your own environment, by the function that makes one."""

from typing import Annotated

from dreamer_nnx.envs import single
from dreamer_nnx.envs.vector import GymVectorEnv
from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import Imports
from dreamer_nnx.slots import ENV

WHERE = 'config.env.custom'


@ENV.register('custom')
def custom(
  *,
  num_envs,
  seed,
  make: Annotated[str, Imports()] = '',
  workers: str = 'sync',
  repeat: int = 1,
  image_size: tuple[int, ...] = (),
  render: bool = False,
  time_limit: int = 0,
  max_restarts: int = 10,
  step_timeout: float = 600.0,
) -> GymVectorEnv:
  """W environments from W calls; see `single.Options` for the other fields.

  Args:
    make: 'package.module:make_env'. The function returns a gymnasium.Env; it
      may name `seed` and `index`.

  Raises:
    ValueError: If the function is not found, or for fields out of range.
    TypeError: If it does not make a gymnasium.Env, or for spaces that cannot
      be read.
    EnvError: If the function raises something else.
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
  function = single.load(make, f'{WHERE}.make')
  if not callable(function):
    raise UserError(f'{WHERE}.make = {make!r}: it cannot be called.')
  return single.vectorize(
    single.Maker(function, {}, seed),
    options,
    num_envs=num_envs,
    seed=seed,
    where=f'{WHERE}.make = {make!r}',
  )
