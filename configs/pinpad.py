"""Visual Pin Pad from pixels, in JAX, without a package.

  python -m dreamer_nnx.main --config=pinpad --workdir=runs/pinpad \
    --config.env.pinpad.task=three

Tasks: three, four, five, six, seven, eight; the more pads, the rarer a reward.
Cost: 312,500 updates of 16x64 steps at the size 12m; a day of an accelerator.
Published: curves of Director in a figure (Hafner et al. 2022,
arXiv 2206.04114), on rooms of three to six pads; DreamerV3 has none, and its
repository has this environment without settings: these are its defaults.
"""

from dreamer_nnx import config as configs

PATTERNS = {
  'env.name': 'pinpad',
  'env.pinpad.task': 'three',
  'train.envs': 16,
  'train.steps': 10_000_000,
  'train.train_ratio': 32.0,
  # An episode has 10,000 steps.
  'evaluate.episodes': 4,
}


def get_config(size: str = '12m') -> configs.ConfigDict:
  """The config, of one of the sizes."""
  config = configs.base()
  configs.apply(config, PATTERNS)
  configs.apply_size(config, size)
  return config
