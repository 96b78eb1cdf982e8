"""Learns `track` with a causal transformer as its memory."""

from dreamer_nnx import config as configs
from experiments.variants import small

PATTERNS = {
  'dynamics.name': 'transformer',
  'dynamics.transformer.deter': 128,
  'dynamics.transformer.heads': 4,
  'dynamics.transformer.window': 16,
  'dynamics.transformer.hidden': 128,
  'dynamics.transformer.stochastic.categorical.stoch': 16,
  'dynamics.transformer.stochastic.categorical.classes': 16,
}


def get_config() -> configs.ConfigDict:
  """The config of the variant."""
  return small.config(PATTERNS)
