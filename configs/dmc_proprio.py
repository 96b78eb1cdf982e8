"""Control from joint angles and velocities; any task by `config.env.dmc.task`.

    pip install dm_control 'mujoco>=3.17,<4'
    python -m dreamer_nnx.main --config=configs/dmc_proprio.py \
      --workdir=runs/walker_walk --config.env.dmc.task=walker_walk

The settings of danijar/dreamerv3: size 1m, each action is taken once, episodes
of 1000 steps. Its scores are read at 500,000 steps. It also draws every step,
for its logs; here nothing is drawn.

Cost: 1.1 million updates; 77 hours on two CPU cores at 0.25 s each, and below
6 hours on an H200, where size 12m takes 19 ms (docs/results.md). A core steps
walker about 4,000 times a second.
Published: mean 758, median 868 over 18 tasks at 490,000 steps, from the last
points of the curves in the reference's `scores/dmc_proprio-dreamerv3`;
walker_walk 881.
Source: Hafner et al. 2023 (arXiv 2301.04104).
"""

from dreamer_nnx import config as configs

PATTERNS = {
  'env.name': 'dmc',
  'env.dmc.task': 'walker_walk',
  'env.dmc.proprio': True,
  'env.dmc.pixels': False,
  'replay.chunked.capacity': 5_000_000,
  'train.envs': 16,
  'train.steps': 1_100_000,
  'train.train_ratio': 1024.0,
}


def get_config(size: str = '1m') -> configs.ConfigDict:
  """The config; with a size, of that size."""
  config = configs.base(size)
  configs.apply(config, PATTERNS)
  return config
