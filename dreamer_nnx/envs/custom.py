"""`custom`: your own environment, by the function that makes one."""

from typing import Annotated

from dreamer_nnx.envs import single
from dreamer_nnx.envs.vector import GymVectorEnv
from dreamer_nnx.schema import Imports
from dreamer_nnx.slots import ENV

WHERE = 'config.env.custom'


@ENV.register('custom')
@single.with_options
def custom(
  *,
  num_envs,
  seed,
  make: Annotated[str, Imports()] = '',
  arguments: Annotated[tuple[str, ...], Imports()] = (),
  options: single.Options,
) -> GymVectorEnv:
  """Makes W environments by W calls of your own function.

  Args:
    make: 'package.module:make_env'. The function returns a gymnasium.Env; it
      may name `seed` and `index`.
    arguments: Passed on to the function, as 'name=value' with a Python literal
      for the value.

  Raises:
    UserError: If the function is not found or makes something else, for
      fields out of range, and for spaces that cannot be read.
    EnvError: If the function raises.
  """
  return single.vectorize(
    single.maker(make, arguments, seed, WHERE),
    options,
    num_envs=num_envs,
    seed=seed,
    where=f'{WHERE}.make = {make!r}',
  )
