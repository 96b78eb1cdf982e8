"""Learns `catch` from demonstrations, first alone and then while playing.

`scripted.py` writes demonstrations into runs/demonstrations.
"""

from dreamer_nnx import config as configs
from experiments.variants import small

PATTERNS = {
  'env.name': 'labelled',
  'objectives.names': ('cloning',),
  'replay.name': 'mixture',
  'replay.mixture.share': 0.25,
  'replay.mixture.data.dataset.path': 'runs/demonstrations',
  'replay.mixture.live.chunked.capacity': 100_000,
  'train.offline': 1_000,
}


def get_config() -> configs.ConfigDict:
  """The config of the variant."""
  return small.config(PATTERNS, 'experiments.variants.cloning')
