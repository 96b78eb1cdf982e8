"""Keeps the cost of `games.Chain` below a limit."""

from dreamer_nnx import config as configs
from experiments.variants import small

PATTERNS = {
  'env.name': 'custom',
  'env.custom.make': 'experiments.variants.games:Chain',
  'env.custom.arguments': ('cost=True',),
  'behavior.name': 'constrained',
  'behavior.constrained.limit': 2.0,
}


def get_config() -> configs.ConfigDict:
  """The config of the variant."""
  return small.config(PATTERNS)
