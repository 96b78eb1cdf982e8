"""Mazes with objects to find again; sizes by `config.env.memory_maze.task`.

    pip install memory-maze dm_control 'mujoco>=3.17,<4'
    python -m dreamer_nnx.main --config=configs/memory_maze.py \
      --workdir=runs/maze --config.env.memory_maze.task=9x9

The benchmark is 100 million steps. danijar/dreamerv3 has the environment, but
no settings for it: these are its defaults. For a smaller agent name
`configs/memory_maze.py:12m`. Every step is drawn, so that each environment has
a process of its own; see MUJOCO_GL in docs/suites.md.

Cost: 3.1 million updates, 56 hours on an H200 at 64 ms each (docs/results.md).
In software a core draws about 20 steps a second, which is too slow for it.
Published: 33.2 by a Dreamer before DreamerV3, 26.4 by people and 34.8 at most,
in 9x9.
Source: Pasukonis et al. 2022 (arXiv 2210.13383).
"""

from dreamer_nnx import config as configs

PATTERNS = {
  'env.name': 'memory_maze',
  'env.memory_maze.task': '9x9',
  'env.memory_maze.workers': 'async',
  'replay.chunked.capacity': 5_000_000,
  'train.envs': 16,
  'train.steps': 100_000_000,
  'train.train_ratio': 32.0,
}


def get_config(size: str = '200m') -> configs.ConfigDict:
  """The config; with a size, of that size."""
  config = configs.base(size)
  configs.apply(config, PATTERNS)
  return config
