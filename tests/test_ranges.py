"""Every number of the agent's parts has limits, and they are kept."""

import re

import pytest

from dreamer_nnx import config as configs
from dreamer_nnx import slots
from dreamer_nnx.agent.build import build
from dreamer_nnx.registry import Part
from dreamer_nnx.schema import RegistryError, fields, limits

DENSE = (
  slots.ENCODER,
  slots.DECODER,
  slots.DYNAMICS,
  slots.HEAD,
  slots.NORMALIZER,
  slots.OPTIMIZER,
)
# Texts that are no names of a closed vocabulary.
FREE = {'wdregex', 'others', 'rates', 'freeze'}


def builders():
  """Every builder of these slots and every fixed part of the agent."""
  found = {
    f'{slot.name}/{entry.name}': (entry.builder, slot.given)
    for slot in DENSE
    for entry in slot.entries()
  }
  parts = [x for x in fields(build).values() if isinstance(x, Part)]
  return found | {x.builder.__name__: (x.builder, x.given) for x in parts}


@pytest.mark.parametrize('name', builders())
def test_every_number_and_name_has_limits(name):
  builder, given = builders()[name]
  known = limits(builder)
  for field, default in fields(builder, given).items():
    # An empty one is taken for texts.
    some = (default or ('',))[0] if isinstance(default, tuple) else default
    if isinstance(some, int | float | str) and not isinstance(some, bool):
      assert known.get(field) or field in FREE, f'{field} has no limits'


def refusal(path, value):
  """The error of a config in which `path` has that value."""
  config = configs.base()
  node = config
  *above, last = path.removeprefix('config.').split('.')
  for name in above:
    if 'name' in node and name in node and name != node.name:
      node.name = name
    node = node[name]
  node[last] = value
  with pytest.raises(RegistryError) as error:
    configs.resolve(config)
  return str(error.value)


@pytest.mark.parametrize(
  ('path', 'value', 'limit'),
  [
    ('agent.horizon', 0, 'at least 1'),
    ('agent.imag_length', 0, 'at least 1'),
    ('agent.imag_last', -1, 'at least 0'),
    ('agent.lam', 1.5, 'at least 0 and at most 1'),
    ('agent.repval_lam', -0.5, 'at least 0 and at most 1'),
    ('agent.actent', -0.1, 'at least 0'),
    ('agent.slowreg', -0.1, 'at least 0'),
    ('loss_scales.rew', -1.0, 'at least 0'),
    (
      'behavior.actor_critic.slow_value.every',
      2**31,
      'at least 1 and at most 2147483647',
    ),
    ('behavior.actor_critic.slow_value.rate', 0.0, 'above 0 and at most 1'),
    (
      'behavior.actor_critic.retnorm.perc.perchi',
      100.5,
      'at least 0 and at most 100',
    ),
    (
      'behavior.actor_critic.retnorm.perc.rate',
      0.0,
      'at least 1e-37 and at most 1',
    ),
    ('behavior.actor_critic.valnorm.meanstd.limit', 0.0, 'at least 1e-37'),
    ('reward.head.symexp_twohot.bins', 1, 'at least 2'),
    ('reward.head.huber.eps', 0.0, 'at least 1e-18'),
    ('reward.layers', -1, 'at least 0'),
    ('behavior.actor_critic.policy.mlp.units', 0, 'at least 1'),
    (
      'behavior.actor_critic.policy.mlp.continuous.bounded_normal.minstd',
      0.0,
      'at least 1e-37',
    ),
    (
      'behavior.actor_critic.policy.mlp.discrete.categorical.unimix',
      2.0,
      'at least 0 and at most 1',
    ),
    (
      'behavior.actor_critic.policy.mlp.discrete.onehot.outscale',
      -1.0,
      'at least 0',
    ),
    ('encoder.simple.kernel', 0, 'at least 1'),
    ('encoder.simple.depth', 0, 'at least 1'),
    ('encoder.simple.mults', (2, 0), 'at least 1'),
    ('decoder.simple.bspace', -1, 'at least 0'),
    (
      'dynamics.rssm.stochastic.categorical.unimix',
      2.0,
      'at least 0 and at most 1',
    ),
    ('dynamics.rssm.free_nats', -1.0, 'at least 0'),
    ('dynamics.rssm.stochastic.categorical.classes', 0, 'at least 1'),
    ('dynamics.rssm.blocks', 0, 'at least 1'),
    ('optimizer.dreamer.lr', -1.0, 'at least 0'),
    ('optimizer.dreamer.beta1', 1.0, 'at least 0 and at most 0.999999'),
    ('optimizer.adamw.eps', 0.0, 'at least 1e-37'),
    ('optimizer.adamw.warmup', -1, 'at least 0 and at most 2147483647'),
  ],
)
def test_a_number_that_makes_no_sense_is_refused_by_its_path(
  path, value, limit
):
  assert refusal(path, value) == f'config.{path} = {value}: must be {limit}.'


@pytest.mark.parametrize(
  'path', ['encoder.simple.mults', 'decoder.simple.mults']
)
def test_there_is_at_least_one_stage(path):
  message = f'config.{path} = (): must have at least 1 element.'
  assert refusal(path, ()) == message


@pytest.mark.parametrize(
  ('path', 'value', 'meant'),
  [
    ('encoder.simple.act', 'sillu', 'silu'),
    ('dynamics.rssm.norm', 'rmss', 'rms'),
    (
      'behavior.actor_critic.policy.mlp.winit',
      'trunc_normal',
      'trunc_normal_in',
    ),
    ('optimizer.dreamer.schedule', 'cosin', 'cosine'),
    ('precision.compute', 'float8', 'float32'),
  ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(path, value, meant):
  text = refusal(path, value)
  assert text.startswith(f"config.{path} = '{value}': must be one of '")
  assert re.search(f"Did you mean '{meant}'\\?$", text), text
