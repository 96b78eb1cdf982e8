"""An experiment of bsuite, by the settings of DreamerV3's repository (200m).

  python -m dreamer_nnx.main --config=bsuite --workdir=runs/catch \
    --config.env.bsuite.task=catch/0 --config.env.bsuite.results=runs/bsuite

Training ends with the number of episodes that the experiment has (10,000 of
`catch`, 1,000 of `cartpole`). Nothing is evaluated but the last agent:
bsuite's scores are of the episodes in `results`.
Cost: an update for each environment step; `catch` has 100,000 of them. The
size 1m (`--config=bsuite:1m`) is enough for most.
Published: Hafner et al. 2023 (arXiv 2301.04104v1) show scores of the
experiments at size XL in a figure; there is no number to compare for each.
"""

from dreamer_nnx import config as configs

PATTERNS = {
  'env.name': 'bsuite',
  'env.bsuite.task': 'catch/0',
  'callbacks.names': ('episode_limit',),
  'train.envs': 1,
  # The longest experiments have half as many (10,000 episodes of 102 steps,
  # 1,000 of 1,002), and `episode_limit` ends each.
  'train.steps': 2_000_000,
  'train.train_ratio': 1024.0,
}


def get_config(size: str = '200m') -> configs.ConfigDict:
  """The config, of one of the sizes."""
  config = configs.base()
  configs.apply(config, PATTERNS)
  configs.apply_size(config, size)
  return config
