"""A shipped config with an agent so small that it trains for a minute.

--config=tests/smoke/tiny.py:atari
"""

from dreamer_nnx import config as configs
from dreamer_nnx import load_config

PATTERNS = {
  '**.units': 32,
  '**.mults': (1, 1, 1, 1),
  'encoder.simple.depth': 4,
  'decoder.simple.depth': 4,
  'dynamics.rssm.deter': 32,
  'dynamics.rssm.hidden': 16,
  'dynamics.rssm.blocks': 4,
  'dynamics.rssm.stochastic.categorical.stoch': 4,
  'dynamics.rssm.stochastic.categorical.classes': 4,
  'decoder.simple.bspace': 4,
  'replay.chunked.capacity': 10_000,
  'train.envs': 2,
  'train.steps': 200,
  'train.batch_size': 4,
  'train.batch_length': 8,
  'train.train_ratio': 4.0,
  'train.log_every': 50,
  'train.report_every': 0,
  'evaluate.episodes': 1,
  'evaluate.envs': 1,
  'evaluate.sampled': False,
}
# What is tried of the suites that have no config of their own, or a long one.
OTHERS = {
  'box2d': ('gymnasium', {'env.gymnasium.id': 'LunarLander-v3'}),
  'dm_env': (
    'nature',
    {'env.name': 'dm_env', 'env.dm_env.make': 'tests.smoke.counting:make'},
  ),
  'gymnasium': ('gymnasium', {'env.gymnasium.id': 'CartPole-v1'}),
  # Its images come to 5 x 5 cells by one halving.
  'minatar': ('minatar', {'**.simple.mults': (1,)}),
  'mujoco': ('gymnasium', {'env.gymnasium.id': 'Hopper-v5'}),
  # An episode of it has 10,000 steps.
  'pinpad': ('pinpad', {'env.pinpad.length': 500}),
}


def get_config(name: str) -> configs.ConfigDict:
  """The shipped config of this name, made small."""
  shipped, task = OTHERS.get(name, (name, {}))
  config = load_config(shipped)
  configs.apply(config, {**PATTERNS, **task})
  return config
