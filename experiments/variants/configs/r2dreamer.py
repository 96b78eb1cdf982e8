"""Learns `track` without a decoder."""

from dreamer_nnx import config as configs
from experiments.variants import small

PATTERNS = {
  'objectives.names': ('barlow',),
  'decoder.name': 'none',
}


def get_config() -> configs.ConfigDict:
  """The config of the variant."""
  return small.config(PATTERNS)
