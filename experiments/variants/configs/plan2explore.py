"""Explores `track` for the disagreement of predictors alone."""

from dreamer_nnx import config as configs
from experiments.variants import small

PATTERNS = {
  'objectives.names': ('disagreement',),
  'agent.extrinsic_scale': 0.0,
  # The rewards that replay holds are of the environment, too.
  'agent.repval_loss': False,
  'agent.reward_grad': False,
}


def get_config() -> configs.ConfigDict:
  """The config of the variant."""
  return small.config(PATTERNS)
