"""The defaults of danijar/dreamerv3; docs/presets.md."""

from dreamer_nnx import config as configs
from dreamer_nnx import presets


def get_config(size: str = '') -> configs.ConfigDict:
  """The config; with a size, of that size."""
  return presets.make('reference', size)
