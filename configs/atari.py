"""Atari at 200 million frames; any game of ale-py by `config.env.atari.task`.

    pip install ale-py
    python -m dreamer_nnx.main --config=configs/atari.py --workdir=runs/pong \
      --config.env.atari.task=pong

The settings of danijar/dreamerv3: 96 x 96 gray pixels, sticky actions, all 18
actions, up to 30 frames without an action, an episode is cut off after 108,000
frames. A step takes an action for 4 frames, so 51 million steps are 204 million
frames. `configs/atari.py:12m` is a smaller agent.

Cost: 1.6 million updates, 28 hours on an H200 at the 64 ms that size 200m takes
for 64 x 64 pixels (docs/results.md); 96 x 96 take longer.
Published: median 745%, mean 3450% of a human player's score over 57 games, from
the last points of the curves in the reference's `scores/atari57-dreamerv3` and
its table of human scores; Pong 19.9.
Source: Hafner et al. 2023 (arXiv 2301.04104).
"""

from dreamer_nnx import config as configs

PATTERNS = {
  'env.name': 'atari',
  'env.atari.task': 'pong',
  'env.atari.size': (96, 96),
  'env.atari.gray': True,
  'env.atari.sticky': 0.25,
  'env.atari.actions': 'all',
  'env.atari.noops': 30,
  'replay.chunked.capacity': 5_000_000,
  'train.envs': 16,
  'train.steps': 51_000_000,
  'train.train_ratio': 32.0,
}


def get_config(size: str = '200m') -> configs.ConfigDict:
  """The config; with a size, of that size."""
  config = configs.base(size)
  configs.apply(config, PATTERNS)
  return config
