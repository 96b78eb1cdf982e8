"""Learns `track` with a diagonal state-space model as its memory."""

from dreamer_nnx import config as configs
from experiments.variants import small

PATTERNS = {
  'dynamics.name': 'ssm',
  'dynamics.ssm.deter': 256,
  'dynamics.ssm.state': 128,
  'dynamics.ssm.hidden': 128,
  'dynamics.ssm.stochastic.categorical.stoch': 16,
  'dynamics.ssm.stochastic.categorical.classes': 16,
}


def get_config() -> configs.ConfigDict:
  """The config of the variant."""
  return small.config(PATTERNS)
