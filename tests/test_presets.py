"""The presets: their page, their agents, and one update of each."""

import re
import runpy

import jax
import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx import config as configs
from dreamer_nnx import presets, workflow
from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.errors import UserError
from dreamer_nnx.testing import agents
from dreamer_nnx.training import sharding
from tests.launcher import ROOT

IMAGE = {'image': gs.Box(0, 255, (64, 64, 3), np.uint8)}
VECTOR = {'vector': gs.Box(-np.inf, np.inf, (24,), np.float32)}
MOVES = {'action': gs.Box(-1, 1, (6,), np.float32)}
BUTTONS = {'action': gs.Discrete(17)}
# Trained parameters on vectors and on images. The first paper says 200M of its
# largest size; the numbers of the others are those of test_sizes.py.
COUNTS = {
  'nature': (38_612_003, 41_658_259),
  'reference': (153_769_507, 165_965_075),
  'paper_v1': (127_610_403, 200_779_987),
}
B, T = 2, 3
SMALL_IMAGE = {'image': gs.Box(0, 255, (16, 16, 3), np.uint8)}
TOY = agents.SIZES | {
  '*.simple.mults': (1, 2),
  'train.batch_size': B,
  'train.batch_length': T,
}


def make_learner(config, obs_space, action_space):
  mesh = sharding.make_sharding(devices=jax.devices()[:1])
  return workflow.make_learner(config, obs_space, action_space, mesh)


def test_page_is_that_of_the_presets():
  page = (ROOT / 'docs' / 'presets.md').read_text('utf-8')
  assert page == presets.page(), 'run `make tables`'


@pytest.mark.parametrize('name', presets.PRESETS)
def test_agents_on_vectors_and_on_images(name):
  config, counts = presets.make(name), []
  for spaces in ((VECTOR, MOVES), (IMAGE, BUTTONS)):
    layout = make_learner(config, *spaces).layout
    counts.append(sum(layout.shapes[k].size for k in layout.trained))
  assert tuple(counts) == COUNTS[name]


def batch_of(config, learner, spaces):
  """Random steps, in a window as the replay of the config gives it."""
  rng = np.random.default_rng(0)
  context = config.replay.chunked.context
  rows = B, T + (learner.layout.context if context < 0 else context)
  consec = np.full(B, 0 if context else -1, np.int32)
  batch = {CONSEC: consec}
  for key, x in workflow.step_spaces(*spaces, learner).items():
    draw = rng.normal if x.dtype == np.float32 else lambda size: np.zeros(size)
    batch[key] = draw(size=(*rows, *x.shape)).astype(x.dtype)
  return batch


def small(name):
  config = presets.make(name)
  configs.apply(config, TOY)
  return config


def filled(learner):
  """A state without a program that draws it: compiling one takes longer."""
  rng = np.random.default_rng(1)
  trained = lambda x: rng.normal(scale=0.1, size=x.shape).astype(x.dtype)
  return {
    name: trained(x)
    if name in learner.layout.trained
    else np.zeros(x.shape, x.dtype)
    for name, x in learner.abstract.items()
    if name != 'key'
  } | {'key': jax.random.key(0)}


@pytest.mark.parametrize('name', ['nature', 'paper_v1'])
def test_an_update_of_a_small_agent(name):
  config, spaces = small(name), (SMALL_IMAGE | VECTOR, BUTTONS)
  learner = make_learner(config, *spaces)
  first, carry = filled(learner), learner.initial_rows(B)
  batch = batch_of(config, learner, spaces)
  state, _, _, metrics = learner.train_step(dict(first), carry, batch)
  assert all(np.isfinite(x).all() for x in metrics.values())
  assert ('loss/repval' in metrics) == (name != 'paper_v1')
  largest = {
    k: np.abs(np.asarray(state[k]) - first[k]).max()
    for k in learner.layout.trained
  }
  actor = {k: x for k, x in largest.items() if k.startswith('behavior/')}
  model = {k: x for k, x in largest.items() if k not in actor}
  # A first update of Adam is the learning rate; a warm-up begins at 0.
  rates = (3e-5, 1e-4) if name == 'paper_v1' else (0, 0)
  found = max(actor.values()), max(model.values())
  np.testing.assert_allclose(found, rates, rtol=0.01)


def test_the_reference_is_nature_but_for_its_size():
  one, two = (configs.leaves(small(name)) for name in ('nature', 'reference'))
  assert {k for k in one if one[k] != two[k]} == {'train.steps'}


@pytest.mark.parametrize('name', presets.PRESETS)
def test_config_files_are_the_presets(name):
  path = ROOT / 'configs' / f'{name}.py'
  get_config = runpy.run_path(str(path))['get_config']
  assert get_config() == presets.make(name)
  assert get_config('1m') == presets.make(name, '1m')
  assert get_config('1m').encoder.simple.units == 64


def test_nature_is_the_default():
  config = configs.base()
  presets.apply(config, 'nature')
  assert config == configs.base()


def test_presets_are_laid_over_a_config():
  config = configs.base()
  configs.apply(config, {'train.envs': 3, 'optimizer.adamw.lr': 0.5})
  presets.apply(config, 'paper_v1')
  assert config.train.envs == 3 and config.optimizer.adamw.lr == 1e-4
  message = "preset = 'papers_v1': no such name. Did you mean 'paper_v1'?"
  with pytest.raises(UserError, match=re.escape(message)):
    presets.apply(config, 'papers_v1')


def test_differences_are_all_there_are_and_no_others():
  rows = presets.differences()
  assert rows['optimizer.*.lr'] == {
    'nature': 4e-5,
    'reference': 4e-5,
    'paper_v1': 1e-4,
  }
  # A field of one component alone, one that is the same, and one of a
  # component that no preset chooses.
  assert rows['optimizer.*.momentum'] == {'nature': True, 'reference': True}
  assert 'optimizer.*.beta1' not in rows and 'train.batch_size' not in rows
  assert not any('transformer' in path or 'lion' in path for path in rows)
