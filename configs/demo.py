"""Learns `track` from 16x16 pixels in minutes on two CPU cores."""

from dreamer_nnx import config as configs

PATTERNS = {
  '**.units': 128,
  'dynamics.rssm.deter': 256,
  'dynamics.rssm.hidden': 128,
  'dynamics.rssm.stochastic.categorical.stoch': 16,
  'dynamics.rssm.stochastic.categorical.classes': 16,
  'encoder.simple.depth': 8,
  'decoder.simple.depth': 8,
  '**.simple.mults': (2, 3),
  'agent.imag_last': 4,
  'agent.actent': 3e-2,
  'optimizer.dreamer.lr': 1e-3,
  'optimizer.dreamer.warmup': 100,
  'optimizer.dreamer.schedule': 'linear',
  'optimizer.dreamer.anneal': 2_000,
  'replay.chunked.capacity': 100_000,
  'train.envs': 4,
  'train.steps': 8_000,
  'train.batch_size': 16,
  'train.batch_length': 16,
  'train.train_ratio': 64.0,
  'train.log_every': 500,
  'train.report_every': 2_000,
  'evaluate.episodes': 100,
  'evaluate.envs': 25,
  'evaluate.sampled': False,
}
# At any depth, the channels of the smallest image divide into the 8 blocks of
# the decoder.
SIZED = {'**.simple.mults': (2, 4)}


def get_config(size: str = '') -> configs.ConfigDict:
  """The config; with a size, of that size instead of a tiny one."""
  config = configs.base()
  configs.apply(config, PATTERNS)
  if size:
    configs.apply(config, SIZED)
    configs.apply_size(config, size)
  return config
