"""MinAtar, small games of 10 x 10 cells; any by `config.env.minatar.task`.

    pip install minatar
    python -m dreamer_nnx.main --config=configs/minatar.py \
      --workdir=runs/breakout --config.env.minatar.task=breakout

A pixel a cell and a channel for each kind of thing, with one stage of the CNN
in front. Sticky actions of probability 0.1 and rising difficulty, as in the
package. `configs/minatar.py:12m` is a larger agent.

Cost: 62,500 updates of size 1m.
Published: none with DreamerV3; the games are of Young and Tian 2019 (arXiv
1903.03176).
"""

from dreamer_nnx import config as configs

PATTERNS = {
  'env.name': 'minatar',
  'env.minatar.task': 'breakout',
  'env.minatar.form': 'image',
  'env.minatar.scale': 1,
  '**.simple.mults': (4,),
  'replay.chunked.capacity': 1_000_000,
  'train.envs': 16,
  'train.steps': 1_000_000,
  'train.train_ratio': 64.0,
}


def get_config(size: str = '1m') -> configs.ConfigDict:
  """The config; with a size, of that size."""
  config = configs.base(size)
  configs.apply(config, PATTERNS)
  return config
