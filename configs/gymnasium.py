"""Any environment of gymnasium's registry, by its id.

  --config=gymnasium --config.env.gymnasium.id=LunarLander-v3

A small agent whose settings suit the environment's spaces, see `fitting.fit`;
half an hour on one core.
"""

from dreamer_nnx import config as configs
from dreamer_nnx import fitting


def get_config(size: str = '') -> configs.ConfigDict:
  """The config; with a size, of that size instead of a small one."""
  config = configs.base()
  configs.apply(config, {'env.name': 'gymnasium'})
  configs.apply(config, fitting.RUN)
  if size:
    configs.apply_size(config, size)
  return config


def adapt(config: configs.ConfigDict, size: str = '') -> tuple[str, dict]:
  """Settings for the environment that the flags name."""
  return fitting.fit(config, size)
