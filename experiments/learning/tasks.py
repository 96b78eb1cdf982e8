"""The tasks, and the settings that both agents have alike."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
AGENTS = ('ours', 'reference')
SEEDS = (0, 1, 2)
# Environment steps between two marks of the clock.
MARK = 500

# Setting to its names: in a config here, and in one of the reference.
NAMES = {
  'deter': ('dynamics.rssm.deter', r'.*\.rssm\.deter'),
  'hidden': ('dynamics.rssm.hidden', r'.*\.rssm\.hidden'),
  'stoch': (
    'dynamics.rssm.stochastic.categorical.stoch',
    r'.*\.rssm\.stoch',
  ),
  'classes': (
    'dynamics.rssm.stochastic.categorical.classes',
    r'.*\.rssm\.classes',
  ),
  'units': ('**.units', r'.*\.units'),
  'depth': ('**.simple.depth', r'.*\.depth'),
  'mults': ('**.simple.mults', r'.*\.mults'),
  'imag_last': ('agent.imag_last', 'agent.imag_last'),
  'actent': ('agent.actent', 'agent.imag_loss.actent'),
  'lr': ('optimizer.dreamer.lr', 'agent.opt.lr'),
  'warmup': ('optimizer.dreamer.warmup', 'agent.opt.warmup'),
  'schedule': ('optimizer.dreamer.schedule', 'agent.opt.schedule'),
  'anneal': ('optimizer.dreamer.anneal', 'agent.opt.anneal'),
  'capacity': ('replay.chunked.capacity', 'replay.size'),
  'envs': ('train.envs', 'run.envs'),
  'batch_size': ('train.batch_size', 'batch_size'),
  'batch_length': ('train.batch_length', 'batch_length'),
  'train_ratio': ('train.train_ratio', 'run.train_ratio'),
  'steps': ('train.steps', 'run.steps'),
}
COMMON = {
  'deter': 256,
  'hidden': 128,
  'units': 128,
  'imag_last': 4,
  'lr': 1e-3,
  'warmup': 100,
  'capacity': 100_000,
  'envs': 4,
  'batch_size': 16,
  'batch_length': 16,
  'train_ratio': 64.0,
}
VECTOR = {'stoch': 8, 'classes': 8, 'actent': 3e-3, 'schedule': 'const'}


@dataclasses.dataclass(frozen=True)
class Task:
  """A task.

  Args:
    title: What it is, for the page.
    settings: Values by the names of NAMES, beside COMMON.
    env: Fields of a config here that choose the environment.
    repeat: Steps of the environment itself in one step of the agent.
    seeds: Those beyond SEEDS are trained last.
  """

  title: str
  settings: Mapping[str, Any]
  env: Mapping[str, Any]
  repeat: int = 1
  seeds: int = len(SEEDS)

  @property
  def all(self) -> dict[str, Any]:
    """Every setting."""
    return COMMON | dict(self.settings)

  def named(self, column: int) -> dict[str, Any]:
    """Every setting by its name here, 0, or in the reference, 1."""
    return {NAMES[name][column]: value for name, value in self.all.items()}


SWINGUP = {
  'env.name': 'custom',
  'env.custom.make': 'experiments.learning.control:make',
  'env.custom.arguments': ('domain="cartpole"', 'task="swingup"'),
  'env.custom.repeat': 2,
}
TASKS = {
  'track': Task(
    '`track`, images of 16x16 pixels',
    {
      'stoch': 16,
      'classes': 16,
      'depth': 8,
      'mults': (2, 3),
      'actent': 3e-2,
      'schedule': 'linear',
      'anneal': 2_000,
      'steps': 8_000,
    },
    {'env.name': 'track'},
    seeds=14,
  ),
  'cartpole': Task(
    'CartPole-v1',
    VECTOR | {'steps': 20_000},
    {'env.name': 'gymnasium', 'env.gymnasium.id': 'CartPole-v1'},
  ),
  'swingup': Task(
    'dm_control cartpole_swingup, from its state',
    VECTOR | {'steps': 24_000},
    SWINGUP,
    repeat=2,
    seeds=14,
  ),
  'swingup_default': Task(
    'cartpole_swingup, with the default entropy scale',
    VECTOR | {'actent': 3e-4, 'steps': 24_000},
    SWINGUP,
    repeat=2,
  ),
}
# What both do alike beside the settings: no reports, no evaluations.
QUIET = {
  'train.log_every': 2_000,
  'train.report_every': 0,
  'train.save_every': 10_000,
  'evaluate.episodes': 1,
  'evaluate.envs': 1,
  'evaluate.sampled': False,
  'callbacks.names': ('episodes',),
}
