"""Learns `track` from rewards that are smoothed."""

from dreamer_nnx import config as configs
from experiments.variants import small

PATTERNS = {
  'replay.name': 'dreamsmooth',
  'replay.dreamsmooth.inner.chunked.capacity': 100_000,
}


def get_config() -> configs.ConfigDict:
  """The config of the variant."""
  return small.config(PATTERNS, 'experiments.variants.dreamsmooth')
