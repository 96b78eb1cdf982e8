"""Crafter from pixels, by the settings of DreamerV3's repository (size 200m).

  python -m dreamer_nnx.main --config=crafter --workdir=runs/crafter

Cost: 550,000 updates of 16x64 steps, days of a large accelerator; the size
12m (`--config=crafter:12m`) is for smaller ones. Crafter itself makes about
400 steps a second.
Published: score 14.5 +- 1.6 %, return 11.7 +- 1.9 after 1M steps (Hafner et
al. 2023, arXiv 2301.04104v1). The log has the score over all training episodes
since the process started as `crafter/score`; with `config.env.crafter.results`
those before count, too.
"""

from dreamer_nnx import config as configs

PATTERNS = {
  'env.name': 'crafter',
  'env.crafter.task': 'reward',
  'train.envs': 1,
  'train.steps': 1_100_000,
  'train.train_ratio': 512.0,
}


def get_config(size: str = '200m') -> configs.ConfigDict:
  """The config, of one of the sizes."""
  config = configs.base()
  configs.apply(config, PATTERNS)
  configs.apply_size(config, size)
  return config
