"""Procgen, hard levels without end; any game by `config.env.procgen.task`.

    pip install 'envpool>=1.2.5,<1.2.6'
    apt-get install -y --no-install-recommends libqt5core5a libqt5gui5
    python -m dreamer_nnx.main --config=configs/procgen.py \
      --workdir=runs/coinrun --config.env.procgen.task=coinrun

The settings of danijar/dreamerv3, but for the image of 64 x 64 pixels. The
reference scales a drawing of 512 x 512 to 96 x 96, and takes a time limit for
the end of a game, as does `--config.env.procgen.backend=procgen
--config.env.procgen.size=96,96 --config.env.procgen.limit_terminal=True`.
`configs/procgen.py:12m` is a smaller agent.

Cost: 6.9 million updates, 5.1 days on an H200 at 64 ms each (docs/results.md).
Published: mean 66% of the range of scores over 16 games at 50 million steps,
from the last points of the curves in the reference's `scores/procgen-dreamerv3`
and its table of ranges; CoinRun 9.9.
Source: Hafner et al. 2023 (arXiv 2301.04104).
"""

from dreamer_nnx import config as configs

PATTERNS = {
  'env.name': 'procgen',
  'env.procgen.task': 'coinrun',
  'env.procgen.distribution_mode': 'hard',
  'env.procgen.num_levels': 0,
  'replay.chunked.capacity': 5_000_000,
  'train.envs': 16,
  'train.steps': 110_000_000,
  'train.train_ratio': 64.0,
}


def get_config(size: str = '200m') -> configs.ConfigDict:
  """The config; with a size, of that size."""
  config = configs.base(size)
  configs.apply(config, PATTERNS)
  return config
