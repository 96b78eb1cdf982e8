"""Learns `track` with losses in harmony."""

from dreamer_nnx import config as configs
from experiments.variants import small

PATTERNS = {
  'weighting.name': 'harmony',
}


def get_config() -> configs.ConfigDict:
  """The config of the variant."""
  return small.config(PATTERNS)
