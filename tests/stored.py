"""Workdirs of tiny agents that have hardly begun, for what loads them."""

from pathlib import Path

from dreamer_nnx import config as configs
from dreamer_nnx.run import Run

TINY = {
  '**.units': 8,
  '**.layers': 1,
  'dynamics.rssm.deter': 16,
  'dynamics.rssm.hidden': 8,
  'dynamics.rssm.blocks': 2,
  'dynamics.rssm.stochastic.categorical.stoch': 2,
  'dynamics.rssm.stochastic.categorical.classes': 4,
  'encoder.simple.depth': 2,
  'decoder.simple.depth': 2,
  '**.simple.mults': (1, 4),
  # Draws that differ, from the first action on.
  'behavior.**.policy.**.outscale': 1.0,
  'loggers.names': (),
  'env.name': 'gymnasium',
  'env.gymnasium.id': 'Pendulum-v1',
  'train.envs': 2,
  'train.steps': 4,
}


def config_of(**patterns):
  """A config of a tiny agent; its first update would come later."""
  config = configs.base()
  configs.apply(config, TINY | patterns)
  return config


def write(folder: Path, **patterns) -> Path:
  """Makes a workdir with one checkpoint, of an agent as it was initialised."""
  with Run(config_of(**patterns), folder) as run:
    run.train(evaluate=False)
  return folder
