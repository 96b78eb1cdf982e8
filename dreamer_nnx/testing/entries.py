"""Checks of everything that is registered, with fields of a small size."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dreamer_nnx import testing
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import REPLAY, STOCHASTIC
from dreamer_nnx.testing import experience, toys

LABELS = toys.VECTORS | {'label/cost': toys.box()}
MASKS = toys.VECTORS | {'mask/button': toys.box(3)}
SHOWN = toys.VECTORS | {'label/demonstration': toys.box()}
BUTTONS = {'button': toys.ACTIONS['discrete']['button']}
SMALL = {'units': 8, 'layers': 1}
CNN = {'depth': 2, 'mults': (1, 1)}
RESNET = {'depth': 2, 'mults': (1,), 'blocks': 1}
SEEN = toys.observations()['both']
DRAWN = Choice(STOCHASTIC, 'categorical', stoch=2, classes=3)
STATE = {'deter': 8, 'hidden': 8, 'stochastic': DRAWN}

# Arguments of a check beside the name, by slot and name.
ARGUMENTS: dict[tuple[str, str], dict[str, Any]] = {
  ('encoder', 'simple'): SMALL | CNN,
  ('encoder', 'resnet'): SMALL | RESNET,
  ('encoder', 'vit'): SMALL | {'depth': 2, 'blocks': 1, 'heads': 2},
  ('encoder', 'mlp'): SMALL,
  ('decoder', 'simple'): SMALL | CNN | {'bspace': 2},
  ('decoder', 'resnet'): SMALL | RESNET | {'bspace': 2},
  ('augmentation', 'random_shift'): {'obs_space': SEEN},
  ('augmentation', 'crop'): {'obs_space': SEEN},
  ('dynamics', 'rssm'): STATE | {'blocks': 2},
  ('dynamics', 'gru'): STATE,
  ('dynamics', 'ssm'): STATE | {'state': 4, 'layers': 1},
  ('dynamics', 'transformer'): STATE
  | {'heads': 2, 'layers': 1, 'window': 4, 'horizon': 2},
  ('policy', 'mlp'): SMALL,
  ('policy', 'masked'): SMALL | {'obs_space': MASKS, 'action_space': BUTTONS},
  ('behavior', 'cem'): {'length': 2, 'plans': 4, 'elites': 2, 'iterations': 1},
  ('behavior', 'constrained'): {'obs_space': LABELS},
  ('objective', 'cloning'): {'obs_space': SHOWN},
  ('objective', 'disagreement'): {'members': 2},
  ('objective', 'dreamerpro'): {'prototypes': 4, 'size': 4},
  ('objective', 'infonce'): {'size': 4},
  ('objective', 'rnd'): {'size': 4},
  ('objective', 'masks'): {'obs_space': MASKS, 'action_space': BUTTONS},
  ('callback', 'episode_limit'): {'episodes': 9},
  ('env', 'atari'): {'task': 'breakout', 'size': (16, 16)},
  ('env', 'minatar'): {'scale': 1},
  ('env', 'procgen'): {'task': 'leaper', 'steps': 520},
  ('env', 'gymnasium'): {'id': 'CartPole-v1'},
  ('env', 'crafter'): {'time_limit': 40},
  ('env', 'minigrid'): {'time_limit': 40},
  ('env', 'pinpad'): {'length': 40},
  ('env', 'custom'): {'make': 'gymnasium.envs.classic_control:CartPoleEnv'},
  ('env', 'dm_env'): {
    'make': 'dm_control.suite:load',
    'arguments': (
      "domain_name='cartpole'",
      "task_name='balance'",
      "task_kwargs={'random': 0}",
    ),
    'time_limit': 40,
  },
  ('env', 'dmc'): {'task': 'cartpole_balance', 'time_limit': 40},
  ('env', 'memory_maze'): {'time_limit': 1, 'steps': 1, 'repeats': False},
  ('replay', 'chunked'): {'chunk_size': 8, 'capacity': 1000},
}
# Packages of extras, without which an entry cannot be checked.
NEEDED = {
  ('env', 'bsuite'): 'bsuite',
  ('env', 'crafter'): 'crafter',
  ('env', 'dm_env'): 'dm_control',
  ('env', 'dmc'): 'dm_control',
  ('env', 'memory_maze'): 'memory_maze',
  ('env', 'minigrid'): 'minigrid',
  ('logger', 'wandb'): 'wandb',
  ('env', 'atari'): 'ale_py',
  ('env', 'minatar'): 'minatar',
  ('env', 'procgen'): 'envpool',
}


def missing(slot: str, name: str) -> str:
  """Names the package that an entry needs and that is not installed, if any."""
  package = NEEDED.get((slot, name), '')
  return package if package and find_spec(package) is None else ''


def run(slot: str, name: str, folder: Path) -> None:
  """Checks one entry.

  Args:
    folder: For what an entry reads.

  Raises:
    Broken: It does not keep a promise.
  """
  arguments = ARGUMENTS.get((slot, name), {})
  if (slot, name) in (('replay', 'dataset'), ('replay', 'mixture')):
    experience.write_data(folder / 'data')
    data = {'path': str(folder / 'data')}
    live = Choice(REPLAY, 'chunked', **ARGUMENTS['replay', 'chunked'])
    parts = {'live': live, 'data': Choice(REPLAY, 'dataset', **data)}
    arguments = data if name == 'dataset' else parts | {'share': 0.34}
  getattr(testing, f'check_{slot}')(name, **arguments)
