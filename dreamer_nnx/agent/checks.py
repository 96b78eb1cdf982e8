"""Checks of a whole agent against the contracts, when it is built.

Each component is traced once without values, in the order in which data meets
them, so that the first message is about the one that is wrong.
"""

from collections.abc import Mapping

from dreamer_nnx import checks, spaces, spacetypes
from dreamer_nnx.agent.agent import Agent
from dreamer_nnx.agent.world_model import PREDICTED


def check_agent(agent: Agent, paths: Mapping[str, str], dtype: object) -> None:
  """Checks every component of an agent.

  Args:
    paths: Config paths of the sections, by name.
    dtype: The compute format.

  Raises:
    UserError: A component breaks its contract.
    Exception: What a component raises, with a note that names it.
  """
  seen = spaces.encoded(agent.obs_space)
  size, feat_space = agent.encoder.token_size, agent.dynamics.feat_space
  checks.check_encoder(agent.encoder, seen, paths['encoder'])
  steps = checks.check_dynamics(
    agent.dynamics, size, agent.action_space, dtype, paths['dynamics']
  )
  given = feat_space, seen, dtype
  decoded = checks.check_decoder(agent.decoder, *given, paths['decoder'])
  scalar = feat_space, spacetypes.scalar(), dtype
  checks.check_predictor(agent.reward, *scalar, paths['reward'])
  needs = checks.CONTINUES
  checks.check_predictor(agent.cont, *scalar, paths['cont'], needs)
  around = agent.world, steps, agent.obs_space, agent.action_space
  _check_policy(agent, dtype, paths['behavior'])
  checks.check_behavior(agent.behavior, *around, paths['behavior'])
  further = {}
  for name, objective in agent.objectives.items():
    path = f'{paths["objectives"]}.{name}'
    names = checks.check_objective(objective, name, *around, path)
    further |= dict.fromkeys(names, objective.scale)
  for name, augmentation in agent.augmentations.items():
    path = f'{paths["augmentations"]}.{name}'
    checks.check_augmentation(augmentation, seen, path)
  scales = agent.loss_scales((*steps.losses, *PREDICTED, *decoded)) | further
  checks.check_weighting(agent.weighting, scales, paths['weighting'])


def _check_policy(agent: Agent, dtype: object, path: str) -> None:
  """Checks the policy of a behaviour that has one by this name."""
  policy = getattr(agent.behavior, 'policy', None)
  if policy is not None:
    spaces_of = agent.obs_space, agent.action_space
    feat_space = agent.dynamics.feat_space
    where = f'{path}.policy'
    checks.check_policy(policy, feat_space, *spaces_of, dtype, where)
