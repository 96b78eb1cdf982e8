"""The config of a run by its name: config.py:encoder.vit."""

from dreamer_nnx import config as configs
from experiments.components import entries


def get_config(name: str) -> configs.ConfigDict:
  """The config of a run."""
  return entries.config(name)
