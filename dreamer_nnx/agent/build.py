"""The wiring diagram: config and spaces to an agent and its optimiser.

The signature of `build` is the head of the config tree: one section for each
keyword with a default.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from flax import nnx
from gymnasium import spaces as gym_spaces

from dreamer_nnx.agent.agent import Agent, SlowParam
from dreamer_nnx.agent.predictors import Policy, Predictor
from dreamer_nnx.agent.settings import AgentOptions, LossScales, SlowValue
from dreamer_nnx.agent.statistics import normalizer
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice, Part
from dreamer_nnx.slots import DECODER, DYNAMICS, ENCODER, HEAD, NORMALIZER

SCALAR = gym_spaces.Box(-np.inf, np.inf, (), np.float32)
REWARD = Part(
  Predictor, layers=1, head=Choice(HEAD, 'symexp_twohot', outscale=0.0)
)
CONTINUE = Part(Predictor, layers=1, head=Choice(HEAD, 'binary'))
VALUE = Part(
  Predictor, layers=3, head=Choice(HEAD, 'symexp_twohot', outscale=0.0)
)


def build(
  obs_space: Mapping[str, gym_spaces.Space],
  action_space: Mapping[str, gym_spaces.Space],
  *,
  encoder: Choice = Choice(ENCODER, 'simple'),
  dynamics: Choice = Choice(DYNAMICS, 'rssm'),
  decoder: Choice = Choice(DECODER, 'simple'),
  reward: Part = REWARD,
  cont: Part = CONTINUE,
  policy: Part = Part(Policy),
  value: Part = VALUE,
  slow_value: Part = Part(SlowValue),
  retnorm: Choice = Choice(NORMALIZER, 'perc', limit=1.0, debias=False),
  valnorm: Choice = Choice(NORMALIZER, 'none'),
  advnorm: Choice = Choice(NORMALIZER, 'none'),
  agent: Part = Part(AgentOptions),
  loss_scales: Part = Part(LossScales),
  precision: Part = Part(Precision),
  rngs: nnx.Rngs,
) -> Agent:
  """Builds every component in the order in which data meets them.

  Args:
    obs_space, action_space: Normalised spaces by key; `log/*` keys are for
      the loggers and are left out.
    rngs: Random streams; `params` draws the parameters.

  Raises:
    RegistryError: A name or field that no component has.
    UserError: A component does not fit the spaces, or a normaliser would not
      learn.
  """
  obs_space = encoded(obs_space)
  precision = precision()
  given = dict(precision=precision, rngs=rngs)
  encoder = encoder(obs_space=obs_space, **given)
  dynamics = dynamics(
    token_size=encoder.token_size, action_space=action_space, **given
  )
  size = dynamics.feature_size
  decoder = decoder(
    obs_space=obs_space, latent_space=dynamics.latent_space, **given
  )
  slow = value(input_size=size, space=SCALAR, **given)
  value = value(input_size=size, space=SCALAR, **given)
  return Agent(
    obs_space,
    action_space,
    encoder=encoder,
    dynamics=dynamics,
    decoder=decoder,
    reward=reward(input_size=size, space=SCALAR, **given),
    cont=cont(input_size=size, space=SCALAR, **given),
    policy=policy(input_size=size, action_space=action_space, **given),
    value=value,
    slow_value=untrained_copy(slow, value),
    retnorm=normalizer(retnorm),
    valnorm=normalizer(valnorm),
    advnorm=normalizer(advnorm),
    options=agent(),
    scales=loss_scales(),
    slow=slow_value(),
  )


def encoded(
  obs_space: Mapping[str, gym_spaces.Space],
) -> dict[str, gym_spaces.Space]:
  """Selects the keys that the agent sees, in order.

  Raises:
    UserError: A key is the name of a loss, under which its own would be lost.
  """
  seen = {k: s for k, s in sorted(obs_space.items()) if k[:4] != 'log/'}
  names = {field.name for field in dataclasses.fields(LossScales)} - {'rec'}
  for key in sorted(names & seen.keys()):
    raise UserError(
      f'the observation key {key!r} is the name of a loss. Rename it in the '
      'environment.',
      'config.env',
    )
  return seen


def untrained_copy(module: nnx.Module, source: nnx.Module) -> nnx.Module:
  """Gives a module the parameters of another, as ones that are not trained."""
  nnx.update(module, nnx.state(source, nnx.Param))

  def freeze(_, v):
    if not isinstance(v, nnx.Param):
      return v
    return SlowParam(v.get_value(), axes=v.get_metadata().get('axes'))

  return nnx.map(freeze, module)
