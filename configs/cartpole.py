"""CartPole-v1 from its four state variables, until it is solved.

A greedy evaluation every 500 steps; training ends with the first that is good.
"""

from dreamer_nnx import config as configs

PATTERNS = {
  '**.units': 128,
  'dynamics.rssm.deter': 256,
  'dynamics.rssm.hidden': 128,
  'dynamics.rssm.stochastic.categorical.stoch': 8,
  'dynamics.rssm.stochastic.categorical.classes': 8,
  'agent.imag_last': 4,
  'agent.actent': 3e-3,
  'optimizer.dreamer.lr': 1e-3,
  'optimizer.dreamer.warmup': 100,
  # Falls to a tenth over the updates of all steps.
  'optimizer.dreamer.schedule': 'linear',
  'optimizer.dreamer.anneal': 15_000,
  'replay.chunked.capacity': 100_000,
  'env.name': 'gymnasium',
  'env.gymnasium.id': 'CartPole-v1',
  'train.envs': 4,
  'train.steps': 30_000,
  'train.batch_size': 16,
  'train.batch_length': 16,
  'train.train_ratio': 128.0,
  'train.log_every': 2_000,
  'train.report_every': 0,
  'train.save_every': 10_000,
  'evaluate.episodes': 100,
  'evaluate.envs': 50,
  'evaluate.every': 500,
  'evaluate.stop_at': 480.0,
  'evaluate.sampled': False,
}


def get_config(size: str = '') -> configs.ConfigDict:
  """The config; with a size, of that size instead of a tiny one."""
  config = configs.base()
  configs.apply(config, PATTERNS)
  if size:
    configs.apply_size(config, size)
  return config
