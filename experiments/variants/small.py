"""Sizes with which every variant here trains in minutes on two CPU cores."""

from collections.abc import Mapping
from typing import Any

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
}


def config(patterns: Mapping[str, Any], *plugins: str) -> configs.ConfigDict:
  """The config of a variant.

  Args:
    patterns: What it sets, beside the sizes.
    plugins: Modules of its components.
  """
  result = configs.base(plugins=plugins)
  configs.apply(result, PATTERNS | dict(patterns))
  return result
