"""MiniGrid's DoorKey from the tiles in view, as symbols.

  python -m dreamer_nnx.main --config=minigrid --workdir=runs/doorkey \
    --config.env.minigrid.task=DoorKey-6x6

Pictures instead: `--config.env.minigrid.view=pixels`. Any task of MiniGrid or
BabyAI works in the same way.
Cost: 125,000 updates of 16x64 steps at the size 12m; hours of an accelerator.
Published: DreamerV3 has none for this suite, and its repository has no such
settings: these are this project's own. The best return is near 1 (1 less 0.9
of the share of the step limit that is used).
"""

from dreamer_nnx import config as configs

PATTERNS = {
  'env.name': 'minigrid',
  'env.minigrid.task': 'DoorKey-6x6',
  'train.envs': 4,
  'train.steps': 1_000_000,
  'train.train_ratio': 128.0,
}


def get_config(size: str = '12m') -> configs.ConfigDict:
  """The config, of one of the sizes."""
  config = configs.base()
  configs.apply(config, PATTERNS)
  configs.apply_size(config, size)
  return config
