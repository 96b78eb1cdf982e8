"""Atari at 400,000 frames; any game of ale-py by `config.env.atari.task`.

    pip install ale-py
    python -m dreamer_nnx.main --config=configs/atari100k.py \
      --workdir=runs/pong --config.env.atari.task=pong

The settings of danijar/dreamerv3: 64 x 64 pixels in colour, no sticky actions,
the actions that a game needs, up to 30 frames without an action. A step takes
an action for 4 frames, so 110,000 steps are 440,000 frames; scores are read at
400,000. `configs/atari100k.py:12m` is a smaller agent.

The reference turns sticky actions off after the game is loaded, where it has no
effect. So its scores are with them; `--config.env.atari.reference=True` is.

Cost: 27,500 updates, half an hour on an H200 at 64 ms each (docs/results.md).
Published: mean 128%, median 49% of a human player's score over 26 games, from
the last points of the curves in the reference's `scores/atari100k-dreamerv3`
and its table of human scores; Pong -5.
Source: Hafner et al. 2023 (arXiv 2301.04104).
"""

from dreamer_nnx import config as configs

PATTERNS = {
  'env.name': 'atari',
  'env.atari.task': 'pong',
  'env.atari.size': (64, 64),
  'env.atari.gray': False,
  'env.atari.sticky': 0.0,
  'env.atari.actions': 'needed',
  'env.atari.noops': 30,
  'replay.chunked.capacity': 5_000_000,
  'train.envs': 1,
  'train.steps': 110_000,
  'train.train_ratio': 256.0,
}


def get_config(size: str = '200m') -> configs.ConfigDict:
  """The config; with a size, of that size."""
  config = configs.base(size)
  configs.apply(config, PATTERNS)
  return config
