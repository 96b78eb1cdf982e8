"""The components that the documentation shows: they keep their contracts."""

import os
import subprocess
import sys

import pytest

from dreamer_nnx.training.checkpoint import load_meta
from tests import pages
from tests.launcher import CACHE, ROOT, arguments

pytestmark = pytest.mark.slow

CHECKS = """
import numpy as np
from gymnasium import spaces
from dreamer_nnx import testing

image = {'image': spaces.Box(0, 255, (8, 8, 3), np.uint8)}
testing.check_dynamics('window_dynamics:Window', units=8)
testing.check_encoder('dense_encoder:DenseEncoder', obs_space=image, units=8)
testing.check_objective('novelty:Novelty', units=8)
testing.check_behavior('sticky:Sticky')
testing.check_policy('goal_policy:GoalPolicy', units=8)
testing.check_augmentation('noise:Noise')
testing.check_selector('unseen:Unseen')
testing.check_callback('budget:Budget')
print('kept')
"""
PLUGINS = (
  'window_dynamics',
  'novelty',
  'sticky',
  'goal_policy',
  'noise',
  'unseen',
  'budget',
)
# All of them in one agent.
CHOSEN = {
  'plugins': ','.join(PLUGINS),
  'dynamics.name': 'window',
  'dynamics.window.units': 8,
  'objectives.names': 'novelty',
  'behavior.name': 'sticky',
  'behavior.sticky.policy.name': 'goal',
  'augmentations.names': 'noise',
  'replay.chunked.selectors.names': 'uniform,unseen',
  'callbacks.names': 'budget',
  'callbacks.budget.updates': 7,
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('plugins')
  pages.modules(folder)
  return folder


def run(folder, *argv):
  paths = os.pathsep.join(map(str, (folder, ROOT)))
  env = os.environ | {'PYTHONPATH': paths}
  return subprocess.run(
    [sys.executable, *argv], env=env, cwd=ROOT, capture_output=True, text=True
  )


def test_each_component_keeps_its_contract(folder):
  result = run(folder, '-c', CHECKS)
  assert result.returncode == 0, result.stderr
  assert result.stdout.endswith('kept\n')


def test_all_of_them_train_together_by_name_and_resume(folder, tmp_path):
  argv = arguments(tmp_path, **CHOSEN)
  command = '-m', 'dreamer_nnx.main', '--mode=train', *argv
  result = run(folder, *command, f'--compilation_cache={CACHE}')
  assert result.returncode == 0, result.stderr
  assert ' updates are spent' in result.stdout
  meta = load_meta(tmp_path)
  # The step in hand is trained on to its end.
  before = meta['counters']['updates']
  assert 7 <= before < 16
  assert meta['config']['dynamics']['name'] == 'window'
  result = run(folder, *command, '--config.callbacks.budget.updates=20')
  assert result.returncode == 0, result.stderr
  assert 20 <= load_meta(tmp_path)['counters']['updates'] < 29
