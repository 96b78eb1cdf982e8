"""Trainable parameters of every size, exactly, without allocating any."""

import jax
import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx import config as configs
from dreamer_nnx import overrides, workflow
from dreamer_nnx.sizes import DETER
from dreamer_nnx.training import sharding
from tests.launcher import ROOT

PROPRIO = (
  {'vector': gs.Box(-np.inf, np.inf, (24,), np.float32)},
  {'action': gs.Box(-1, 1, (6,), np.float32)},
)
VISION = (
  {'image': gs.Box(0, 255, (64, 64, 3), np.uint8)},
  {'action': gs.Discrete(17)},
)
COUNTS = {
  '1m': (640_867, 687_875),
  '12m': (9_738_019, 10_498_259),
  '25m': (21_782_947, 23_495_475),
  '50m': (38_612_003, 41_658_259),
  '100m': (86_622_499, 93_480_531),
  '200m': (153_769_507, 165_965_075),
  '400m': (345_473_059, 372_920_979),
}

CONFIGS = {path.stem: path for path in (ROOT / 'configs').glob('*.py')}


def count(config, spaces):
  devices = sharding.make_sharding(devices=jax.devices()[:1])
  layout = workflow.make_learner(config, *spaces, devices).layout
  return sum(layout.shapes[name].size for name in layout.trained)


@pytest.mark.parametrize('size', COUNTS)
def test_parameters_of_a_size(size):
  config = configs.base(size)
  counts = count(config, PROPRIO), count(config, VISION)
  assert counts == COUNTS[size]


# Presets, as they are in test_presets.py, and suites are built at both ends.
ENDS = configs.SIZES[0], configs.SIZES[-1]
WHOLE = ('demo', 'cartpole')
CASES = [
  (name, size)
  for name in sorted(CONFIGS)
  for size in (('', *configs.SIZES) if name in WHOLE else ENDS)
]


@pytest.mark.parametrize(('name', 'size'), CASES)
def test_a_config_file_goes_with_every_size(name, size):
  config = overrides.load_file(f'{CONFIGS[name]}{size and f":{size}"}')
  configs.apply(config, {'train.envs': 1})
  parts = configs.bind_all(configs.resolve(config))
  if name == 'procgen':
    pytest.importorskip('envpool')
  envs = workflow.make_envs(parts)
  spaces = dict(envs.obs_space), dict(envs.action_space)
  envs.close()
  mesh = sharding.planned(parts['mesh']())
  learner = workflow.make_learner(parts, *spaces, mesh)
  assert all(x.size for x in learner.layout.shapes.values())
  if size:
    assert config.dynamics.rssm.deter == DETER[configs.SIZES.index(size)]


def test_every_size_is_counted():
  assert tuple(COUNTS) == configs.SIZES


def test_the_default_is_that_of_50m():
  assert count(configs.base(), VISION) == COUNTS['50m'][1]
