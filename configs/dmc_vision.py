"""Control from pixels alone; any task by `config.env.dmc.task`.

    pip install dm_control 'mujoco>=3.17,<4'
    python -m dreamer_nnx.main --config=configs/dmc_vision.py \
      --workdir=runs/walker_walk --config.env.dmc.task=walker_walk

The settings of danijar/dreamerv3: 64 x 64 pixels, each action is taken once,
episodes of 1000 steps; scores are read at a million. For a smaller agent name
`configs/dmc_vision.py:12m`. Drawing needs a GPU, or a library that does it in
software: see MUJOCO_GL in docs/suites.md.

Cost: 275,000 updates, 5 hours on an H200 at 64 ms each, or 2 hours at size 12m
(docs/results.md); in software a core draws 30 to 50 pictures a second, twice as
many with `--config.env.dmc.render_quality=fast`.
Published: mean 785, median 861 over 20 tasks at a million steps, from the last
thirtieth of the curves in the reference's `scores/dmc_vision-dreamerv3`;
walker_walk 961.
Source: Hafner et al. 2023 (arXiv 2301.04104).
"""

from dreamer_nnx import config as configs

PATTERNS = {
  'env.name': 'dmc',
  'env.dmc.task': 'walker_walk',
  'env.dmc.proprio': False,
  'env.dmc.pixels': True,
  'env.dmc.size': (64, 64),
  'replay.chunked.capacity': 5_000_000,
  'train.envs': 16,
  'train.steps': 1_100_000,
  'train.train_ratio': 256.0,
}


def get_config(size: str = '200m') -> configs.ConfigDict:
  """The config; with a size, of that size."""
  config = configs.base(size)
  configs.apply(config, PATTERNS)
  return config
