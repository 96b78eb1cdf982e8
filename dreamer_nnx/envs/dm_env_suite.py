"""`dm_env`: your own environment that has the interface of dm_env."""

import dataclasses
from typing import Annotated

from dreamer_nnx.envs import packages, single
from dreamer_nnx.envs.dm_env_adapter import FromDmEnv
from dreamer_nnx.envs.vector import GymVectorEnv
from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import Imports
from dreamer_nnx.slots import ENV

WHERE = 'config.env.dm_env'


@ENV.register('dm_env')
@single.with_options
def dm_env_suite(
  *,
  num_envs,
  seed,
  make: Annotated[str, Imports()] = '',
  arguments: Annotated[tuple[str, ...], Imports()] = (),
  options: single.Options,
) -> GymVectorEnv:
  """Makes W environments of dm_env's interface by calls of your own function.

  See `FromDmEnv` for how specs and steps are read.

  Args:
    make: 'package.module:make_env'. The function returns a dm_env.Environment,
      or what has its methods; it may name `seed` and `index`.
    arguments: Passed on to the function, as 'name=value' with a Python literal
      for the value.

  Raises:
    UserError: If the function is not found, and for specs that cannot be read.
    EnvError: If the function raises.
  """
  try:
    create = single.maker(make, arguments, seed, WHERE)
  except UserError as error:
    if getattr(error.__cause__, 'name', '') == 'dm_env':
      packages.check('dm-env', "config.env.name = 'dm_env'")
    raise
  where = f'{WHERE}.make = {make!r}'
  return single.vectorize(
    Adapted(**vars(create), where=where),
    options,
    num_envs=num_envs,
    seed=seed,
    where=where,
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adapted(single.Maker):
  """Adapts what the function of a `Maker` makes."""

  where: str

  def __call__(self, index: int) -> FromDmEnv:
    return FromDmEnv(super().__call__(index), self.where)
