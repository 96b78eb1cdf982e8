"""Plans on `track` by the cross-entropy method."""

from dreamer_nnx import config as configs
from experiments.variants import small

PATTERNS = {'behavior.name': 'cem'}


def get_config() -> configs.ConfigDict:
  """The config of the variant."""
  return small.config(PATTERNS)
