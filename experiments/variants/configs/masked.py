"""Learns `games.Chain`, where some actions are not allowed."""

from dreamer_nnx import config as configs
from experiments.variants import small

PATTERNS = {
  'env.name': 'custom',
  'env.custom.make': 'experiments.variants.games:Chain',
  'env.custom.arguments': ('mask=True',),
  'behavior.actor_critic.policy.name': 'masked',
  'objectives.names': ('masks',),
}


def get_config() -> configs.ConfigDict:
  """The config of the variant."""
  return small.config(PATTERNS)
