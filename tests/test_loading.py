"""Configs that Python loads."""

import pytest

import dreamer_nnx
from dreamer_nnx.errors import UserError
from tests.launcher import ROOT

CARTPOLE = str(ROOT / 'configs' / 'cartpole.py')


@pytest.mark.parametrize(
  'overrides',
  [
    {'train.steps': 12, '**.units': 16, 'loggers.names': ('jsonl',)},
    ['train.steps=12', 'encoder.simple.units=16', 'loggers.names=jsonl'],
  ],
)
def test_changes_are_made(overrides):
  config = dreamer_nnx.load_config(CARTPOLE, overrides)
  assert config.train.steps == 12
  assert config.encoder.simple.units == 16
  assert config.loggers.names == ('jsonl',)
  assert config.env.gymnasium.id == 'CartPole-v1'


def test_an_argument_is_a_size():
  assert dreamer_nnx.load_config(f'{CARTPOLE}:12m').dynamics.rssm.deter == 2048


@pytest.mark.parametrize(
  ('name', 'overrides', 'message'),
  [
    (CARTPOLE, {'train.stepz': 3}, "Did you mean 'train.steps'"),
    (CARTPOLE, ['train.stepz=3'], "Did you mean 'steps'"),
    (CARTPOLE, ['train.steps=x'], 'must be an int'),
    (CARTPOLE, 'train.steps=3', 'must be a dict'),
    (f'{CARTPOLE}:12', {}, "no such size. Did you mean '12m'"),
    ('cartpool', {}, "Did you mean 'cartpole'"),
  ],
)
def test_mistakes_are_answered(name, overrides, message):
  with pytest.raises(UserError, match=message):
    dreamer_nnx.load_config(name, overrides)
