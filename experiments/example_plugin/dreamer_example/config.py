"""Follows a target in the game `track`, seen in coarse blocks."""

from dreamer_nnx import config as configs

PATTERNS = {
  'encoder.name': 'pooled',
  'encoder.pooled.units': 64,
  'env.name': 'track',
  'train.steps': 20_000,
}


def get_config(size: str = '1m') -> configs.ConfigDict:
  """The config, at a size of the toolkit."""
  config = configs.base(size, plugins=('example',))
  configs.apply(config, PATTERNS)
  return config
