"""Learns `track` without a decoder."""

from dreamer_nnx import config as configs
from experiments.variants import small

PATTERNS = {
  'objectives.names': ('r2dreamer',),
  'decoder.name': 'none',
}


def get_config() -> configs.ConfigDict:
  """The config of the variant."""
  return small.config(PATTERNS, 'experiments.variants.r2dreamer')
