"""The wiring diagram: config and spaces to an agent.

The signature of `build` is the head of the config tree: one section for each
keyword with a default. Policy, value, slow value and their normalisers are
parts of the behaviour, `behaviors/actor_critic.py`; the optimiser is put beside
the agent by `workflow.make_learner`.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from flax import nnx

from dreamer_nnx import checks, spaces, spacetypes
from dreamer_nnx.acting.options import AgentOptions
from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.agent.settings import LossScales
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.predictor import Predictor
from dreamer_nnx.registry import Choice, Choices, Part
from dreamer_nnx.slots import (
  AUGMENTATION,
  BEHAVIOR,
  DECODER,
  DYNAMICS,
  ENCODER,
  HEAD,
  OBJECTIVE,
  WEIGHTING,
)
from dreamer_nnx.spacetypes import Space

REWARD = Part(
  Predictor, layers=1, head=Choice(HEAD, 'symexp_twohot', outscale=0.0)
)
CONTINUE = Part(Predictor, layers=1, head=Choice(HEAD, 'binary'))


def build(
  obs_space: Mapping[str, Space],
  action_space: Mapping[str, Space],
  *,
  encoder: Choice = Choice(ENCODER, 'simple'),
  dynamics: Choice = Choice(DYNAMICS, 'rssm'),
  decoder: Choice = Choice(DECODER, 'simple'),
  reward: Part = REWARD,
  cont: Part = CONTINUE,
  behavior: Choice = Choice(BEHAVIOR, 'actor_critic'),
  objectives: Choices = Choices(OBJECTIVE),
  weighting: Choice = Choice(WEIGHTING, 'fixed'),
  augmentations: Choices = Choices(AUGMENTATION),
  agent: Part = Part(AgentOptions),
  loss_scales: Part = Part(LossScales),
  precision: Part = Part(Precision),
  rngs: nnx.Rngs,
) -> Agent:
  """Builds every component in the order in which data meets them.

  Args:
    obs_space, action_space: Normalised spaces by key; `log/*` keys are for
      the loggers and are left out.
    rngs: Random streams. The parameters of a component depend on its config
      path, not on what else is built.
    encoder: Maps observations to tokens.
    dynamics: The recurrent world model.
    decoder: Reconstructs observations from features.
    reward: Predicts the reward from features.
    cont: Predicts from features whether the episode goes on.
    behavior: Acts, and learns to.
    objectives: Further losses of the world model.
    weighting: Scales the losses of the world model.
    augmentations: Changes of what the encoder sees in training, in this order.
    agent: Numbers of the losses, of dreams and of returns.
    loss_scales: Weights of the losses in the total.
    precision: Number formats, and the kind of device.

  Raises:
    RegistryError: A name or field that no component has.
    UserError: A component does not fit the spaces, or a normaliser would not
      learn.
  """
  stored = spaces.stored(obs_space)
  seen = spaces.encoded(stored)
  check_names(stored, action_space)
  precision, options = precision(), agent()
  given = dict(precision=precision, rngs=rngs)
  encode = encoder(obs_space=seen, **given)
  checks.check_token_size(encode, encoder.path)
  size = encode.token_size
  model = dynamics(token_size=size, action_space=action_space, **given)
  checks.check_spaces(model, dynamics.path)
  given |= dict(feat_space=dict(model.feat_space))
  acts = dict(obs_space=stored, action_space=action_space)
  predict = lambda part, path: part.at(path)(space=spacetypes.scalar(), **given)
  return Agent(
    stored,
    action_space,
    encoder=encode,
    dynamics=model,
    decoder=decoder(obs_space=seen, **given),
    reward=predict(reward, 'config.reward'),
    cont=predict(cont, 'config.cont'),
    behavior=behavior(options=options, **acts, **given),
    objectives=in_use(
      objectives,
      stored_space=stored,
      encoder=encode,
      token_size=size,
      **acts,
      **given,
    ),
    weighting=weighting(obs_space=seen),
    augmentations=in_use(augmentations, obs_space=seen),
    options=options,
    scales=loss_scales(),
  )


def in_use(choices: Choices, **given: Any) -> dict[str, Any]:
  """Builds the components by name, without those whose scale is 0."""
  built = zip(choices, choices(**given), strict=True)
  return {choice.branch: x for choice, x in built if getattr(x, 'scale', 1.0)}


def check_names(
  obs_space: Mapping[str, Space],
  action_space: Mapping[str, Space],
) -> None:
  """Refuses observations whose names say what they are not.

  Raises:
    UserError: A key is the name of a loss, under which its own would be lost,
      or a mask that fits no action.
  """
  names = {field.name for field in dataclasses.fields(LossScales)} - {'rec'}
  for key in sorted(names & obs_space.keys()):
    raise UserError(
      f'the observation key {key!r} is the name of a loss. Rename it in the '
      'environment.',
      'config.env',
    )
  for name in spaces.masked(obs_space):
    shape = obs_space[spaces.MASK + name].shape
    action = action_space.get(name)
    if action is None or not spaces.is_discrete(action):
      _refuse_mask(name, 'is no discrete action', action_space)
    size = sum(spaces.classes(action))
    if shape != (size,):
      _refuse_mask(name, f'has {size} classes, the mask is {shape}', [name])


def _refuse_mask(name: str, what: str, known: Iterable[str]) -> None:
  raise UserError(
    f'the observation mask/{name} must have a number for each class of the '
    f'action {name!r}, which {what}. Actions: {", ".join(known)}.',
    'config.env',
  )
