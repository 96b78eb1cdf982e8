"""The one way from a config to environments."""

import inspect

from dreamer_nnx.contracts import VectorEnv
from dreamer_nnx.envs import single
from dreamer_nnx.envs.checked import CheckedVectorEnv
from dreamer_nnx.envs.pacing import RATES, PacedVectorEnv
from dreamer_nnx.envs.vector import GymVectorEnv
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice, Part


def make_vector_env(
  choice: Choice, num_envs: int, seed: int, *, results: bool = False
) -> VectorEnv:
  """Builds W environments from a choice of the slot `ENV`.

  A builder that does not name `num_envs` is taken for a function that makes
  one gymnasium.Env, called W times with its config fields (and a different
  `seed` each time, and `index`, if it names them); they are stepped in this
  process. For processes of their own choose 'custom'. If it has a field
  `step_timeout`, that is also `single.Options.step_timeout`.

  A field `control_rate` of any builder is that of `single.Options`: the steps
  of what it makes begin at that rate. A field `results` of any builder names
  the suite's own files of the episodes that are trained on.

  Args:
    results: Whether it is passed on; if not, it is ''.

  Raises:
    UserError: The environment does not fit the config, or the toolkit.
    EnvError: If an environment does not start.
  """
  if num_envs < 1:
    raise UserError(
      f'{num_envs} environments: at least 1 is needed.', choice.where
    )
  if not results:
    choice = changed(choice, results='')
  rate = choice.values().get('control_rate', 0)
  if not isinstance(rate, int | float) or RATES.refuse(rate):
    path = f'{choice.path}.control_rate'
    raise UserError(f'must be a number, {RATES}.', path, rate)
  envs = _make(choice, num_envs, seed)
  return PacedVectorEnv(envs, rate) if rate else envs


def changed(choice: Choice, **fields: object) -> Choice:
  """Returns a choice with other values of those fields that it has."""
  known = choice.values()
  same = lambda name, x: name in known and type(known[name]) is type(x)
  return choice.replace(**{k: x for k, x in fields.items() if same(k, x)})


def _make(choice: Choice, num_envs: int, seed: int) -> VectorEnv:
  builder = choice.builder
  parameters = inspect.signature(builder).parameters
  if 'num_envs' in parameters:
    envs = choice(num_envs=num_envs, seed=seed)
    # A `GymVectorEnv` checks its environments itself, and more.
    checks = isinstance(envs, GymVectorEnv)
    return envs if checks else CheckedVectorEnv(envs, choice.path)
  values = choice.values()
  limits = {k: v for k, v in values.items() if k == 'step_timeout'}
  options = Part(single.Options, **limits).at(choice.path)()
  # A field `index` that nobody has set is no number for all.
  unset = lambda name, x: name == 'index' and x == parameters[name].default
  fields = {k: x for k, x in values.items() if not unset(k, x)}
  return single.vectorize(
    single.Maker(builder, fields, seed),
    options,
    num_envs=num_envs,
    seed=seed,
    where=f'{choice.where}.name = {choice.name!r}',
  )
