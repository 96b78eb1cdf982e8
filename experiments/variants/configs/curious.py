"""Learns `catch` from replay that is curious."""

from dreamer_nnx import config as configs
from experiments.variants import small

PATTERNS = {
  'env.name': 'catch',
  'replay.chunked.selectors.names': ('curious',),
}


def get_config() -> configs.ConfigDict:
  """The config of the variant."""
  return small.config(PATTERNS)
