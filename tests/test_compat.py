"""Names of older versions become those of today."""

import json

import numpy as np
import pytest

from dreamer_nnx import compat, notices, overrides, versions
from dreamer_nnx import config as configs
from dreamer_nnx.nodes import ConfigError
from dreamer_nnx.training.metrics import Episodes
from tests import moved

# As version 0.1 saved it: one running episode of three steps, the first
# observation included, and two finished ones of five together.
OLD = {
  'running': {
    'length': [3.0],
    'score': [1.5],
    'changes': [1.0],
    'reward': [0.5],
  },
  'totals': {'score': [4.0, 2], 'length': [5.0, 2], 'reward_rate': [0.5, 2]},
  'count': 2,
}


def test_running_episodes_of_then_go_on():
  episodes = Episodes(1)
  episodes.restore(json.loads(json.dumps(OLD)))
  step = {'reward': [2.0], 'is_first': [False], 'is_last': [True]}
  step = {name: np.asarray(value) for name, value in step.items()}
  finished = episodes.add(step)
  # Its four observations are three actions, two of which changed the reward.
  assert finished == [{'return': 3.5, 'length': 3.0, 'reward_rate': 2 / 3}]
  assert episodes.result() == {
    'episode/return': 7.5 / 3,
    'episode/length': 6 / 3,
    'episode/reward_rate': pytest.approx((0.5 + 2 / 3) / 3),
    'episode/count': 3.0,
  }


def test_running_episodes_of_today_are_left_alone():
  state = Episodes(2).state()
  assert compat.episodes(state) == state


def test_fields_of_then_are_renamed_or_dropped():
  saved = {
    'env': {'name': 'custom', 'custom': {'vectorization': 'sync', 'make': 'a'}},
    'replay': {'chunked': {'keep_indices': 3, 'capacity': 7}},
  }
  before = json.dumps(saved)
  assert compat.config(saved) == {
    'env': {'name': 'custom', 'custom': {'workers': 'sync', 'make': 'a'}},
    'replay': {'chunked': {'capacity': 7}},
  }
  assert json.dumps(saved) == before


def test_the_classes_of_a_state_of_then_are_those_of_its_stochastic_part():
  saved = {'deter': 16, 'stoch': 4, 'classes': 8, 'unimix': 0.0}
  found = compat.config({'dynamics': {'name': 'rssm', 'rssm': saved}})
  part = {'stoch': 4, 'classes': 8, 'unimix': 0.0}
  stochastic = {'name': 'categorical', 'categorical': part}
  assert found['dynamics'] == {
    'name': 'rssm',
    'rssm': {'deter': 16, 'stochastic': stochastic},
  }


@pytest.mark.parametrize('odd', [None, 3, [1], {'custom': 3}])
def test_sections_of_another_form_are_left_to_the_check_of_the_config(odd):
  assert compat.config({'env': odd, 'replay': odd}) == {
    'env': odd,
    'replay': odd,
  }


@pytest.fixture
def tree(monkeypatch):
  notices.WARNED.clear()
  monkeypatch.setattr(compat, 'PATHS', compat.PATHS | moved.PATHS)
  monkeypatch.setattr(compat, 'LISTS', moved.LISTS)
  return moved.tree()


POLICY = 'behavior.actor_critic.policy.mlp'
VALUE = 'behavior.actor_critic.value'
CATEGORICAL = 'dynamics.rssm.stochastic.categorical'
SELECTORS = 'replay.chunked.selectors'
OF_POLICY = f'has names of an older version: policy is now {POLICY}.'


def warnings(caplog):
  return [record.message for record in caplog.records]


@pytest.mark.parametrize(
  ('old', 'new'),
  [
    ('policy', POLICY),
    ('policy.discrete.name', f'{POLICY}.discrete.name'),
    ('slow_value.rate', 'behavior.actor_critic.slow_value.rate'),
    ('retnorm.name', 'behavior.actor_critic.retnorm.name'),
    ('dynamics.rssm.classes', f'{CATEGORICAL}.classes'),
    ('dynamics.rssm.stochastic.name', 'dynamics.rssm.stochastic.name'),
    ('policy_of_mine.units', 'policy_of_mine.units'),
    ('encoder.policy.units', 'encoder.policy.units'),
    (f'{POLICY}.units', f'{POLICY}.units'),
  ],
)
def test_paths_of_then_are_those_of_today(old, new):
  assert compat.path(old) == new
  assert compat.path(new) == new
  assert compat.path_before(new) == old or old == new


HEAD = {'name': 'uniform', 'uniform': {'share': 1.0}}
# A resolved config of then, of the toy tree.
SAVED = {
  'reward': {'layers': 1, 'units': 5},
  'policy': {'layers': 4, 'units': 6, 'clip': True, 'head': HEAD},
  'value': {'layers': 7, 'units': 7},
  'replay': {
    'name': 'chunked',
    'chunked': {
      'capacity': 3,
      'uniform': 1.0,
      'priority': 0.5,
      'recency': 0.0,
      'priority_exponent': 0.25,
    },
  },
}
TODAY = {
  'reward': {'layers': 1, 'units': 5},
  'behavior': {
    'name': 'actor_critic',
    'actor_critic': {
      'policy': {
        'name': 'mlp',
        'mlp': {'layers': 4, 'units': 6, 'clip': True, 'head': HEAD},
      },
      'value': {'layers': 7, 'units': 7},
    },
  },
  'replay': {
    'name': 'chunked',
    'chunked': {
      'capacity': 3,
      'selectors': {
        'uniform': {'share': 1.0},
        'priority': {'share': 0.5, 'exponent': 0.25},
        'names': ['uniform', 'priority'],
      },
    },
  },
}


def test_a_saved_config_of_then_is_one_of_today(tree, caplog):
  before = json.dumps(SAVED)
  found = compat.config(SAVED)
  assert found == TODAY and json.dumps(SAVED) == before
  assert compat.config(found) == found
  (text,) = warnings(caplog)
  assert text.startswith(f'the saved config {OF_POLICY[:-1]}, value is now ')
  assert 'replay.chunked.priority is now replay.chunked.selectors.' in text
  config = configs.from_json(json.dumps(found), tree)
  assert config.behavior.actor_critic.policy.mlp.layers == 4
  assert json.loads(configs.to_json(config, tree)) == TODAY | {
    'plugins': [],
    'extras': {'names': []},
    'replay': {
      'name': 'chunked',
      'chunked': TODAY['replay']['chunked'] | {'filters': {'names': []}},
    },
  }


def test_a_saved_config_of_today_is_left_alone(tree, caplog):
  saved = json.loads(configs.to_json(configs.generate(tree), tree))
  assert compat.config(saved) == saved
  assert not caplog.records


@pytest.mark.parametrize('odd', [None, 3, [1], {'actor_critic': 3}])
def test_what_moves_into_another_form_is_left_where_it_was(odd):
  saved = {'policy': {'units': 3}, 'behavior': odd}
  assert compat.config(saved)['behavior'] == odd


def test_flags_of_then_set_the_fields_of_today(tree, caplog):
  config = configs.generate(tree)
  argv = ['--config.policy.units=64', '--config.policy.layers', '2', '--x']
  argv += ['--config.policy.clip', '--config.value.units=5']
  assert overrides.override(config, argv, tree) == ['--x']
  policy = config.behavior.actor_critic.policy.mlp
  assert (policy.units, policy.layers, policy.clip) == (64, 2, True)
  assert config.behavior.actor_critic.value.units == 5
  assert warnings(caplog) == [
    f'the command line {OF_POLICY[:-1]}, value is now {VALUE}. '
    'Rename them before version 0.4.'
  ]


def test_flags_of_today_are_not_warned_about(tree, caplog):
  config = configs.generate(tree)
  argv = [f'--config.{POLICY}.units=64', '--config.reward.units=5']
  overrides.override(config, argv, tree)
  assert config.behavior.actor_critic.policy.mlp.units == 64
  assert not caplog.records


@pytest.mark.parametrize(
  ('flag', 'message'),
  [
    ('policy.units=x', f"config.{POLICY}.units = 'x': must be an int."),
    (
      'policy.unit=3',
      f'config.{POLICY}.unit: mlp has no such field. Did you mean '
      f"'config.{POLICY}.units'?",
    ),
  ],
)
def test_what_is_wrong_with_a_flag_of_then_is_said_of_today(
  flag, message, tree
):
  with pytest.raises(ValueError) as error:
    overrides.override(configs.generate(tree), [f'--config.{flag}'], tree)
  assert str(error.value).startswith(message[:60])


def test_a_flag_of_then_needs_that_its_component_is_chosen(tree):
  argv = ['--config.behavior.name=cem', '--config.policy.units=3']
  with pytest.raises(ConfigError, match='is not chosen'):
    overrides.override(configs.generate(tree), argv, tree)


def test_a_section_of_the_name_of_then_is_of_today(tree, caplog):
  tree = {**tree, 'policy': tree['reward']}
  config = configs.generate(tree)
  overrides.override(config, ['--config.policy.units=3'], tree)
  configs.apply(config, {'policy.layers': 4}, tree=tree)
  assert (config.policy.units, config.policy.layers) == (3, 4)
  assert config.behavior.actor_critic.policy.mlp.units == 8
  assert not caplog.records


def test_shares_of_then_are_names_of_today(tree, caplog):
  config = configs.generate(tree)
  argv = ['--config.replay.chunked.priority=0.5', '--config.reward.units=3']
  overrides.override(config, argv, tree)
  selectors = config.replay.chunked.selectors
  assert selectors.names == ('uniform', 'priority')
  assert selectors.priority.share == 0.5 and selectors.uniform.share == 1.0
  configs.apply(
    config,
    {'replay.chunked.recency': 0.25, 'replay.chunked.uniform': 0.0},
    tree=tree,
  )
  assert selectors.names == ('uniform', 'priority', 'recency')
  assert selectors.recency.share == 0.25 and selectors.uniform.share == 0.0
  assert len(warnings(caplog)) == 2


def test_names_that_are_set_too_are_kept(tree):
  config = configs.generate(tree)
  argv = ['--config.replay.chunked.priority=0.5']
  argv += [f'--config.{SELECTORS}.names=recency']
  overrides.override(config, argv, tree)
  assert config.replay.chunked.selectors.names == ('recency', 'priority')


UNITS = [f'{POLICY}.units', f'{VALUE}.units', 'reward.units']


@pytest.mark.parametrize(
  ('pattern', 'changed', 'warned'),
  [
    ('policy.units', [f'{POLICY}.units'], True),
    ('policy.*s', [f'{POLICY}.layers', f'{POLICY}.units'], True),
    ('**policy.**units', [f'{POLICY}.units'], False),
    ('*.units', UNITS, True),
    ('**.units', UNITS, False),
    ('behavior.**.mlp.units', [f'{POLICY}.units'], False),
    ('reward.*', ['reward.layers', 'reward.units'], False),
  ],
)
def test_patterns_go_on_matching_what_they_matched(
  pattern, changed, warned, tree, caplog
):
  config = configs.generate(tree)
  before = configs.leaves(config)
  configs.apply(config, {pattern: 99}, tree=tree)
  after = configs.leaves(config)
  assert sorted(k for k in after if after[k] != before[k]) == changed
  assert bool(caplog.records) == warned
  if pattern == 'policy.units':
    assert warnings(caplog) == [
      f'config {OF_POLICY} Rename it before version 0.4.'
    ]


def test_a_pattern_of_then_that_matches_nothing_is_an_error(tree):
  with pytest.raises(ConfigError, match='matches no field'):
    configs.apply(configs.generate(tree), {'policy.unit': 3}, tree=tree)


def test_names_of_then_that_a_flag_gives_lie_over_a_saved_config(tree):
  named = overrides.named(['--config.policy.head.name=priority'])
  saved = configs.to_json(configs.generate(tree), tree)
  config = configs.from_json(saved, tree, named=named)
  assert config.behavior.actor_critic.policy.mlp.head.name == 'priority'


def number(version):
  return tuple(map(int, version.split('.')))


def past_their_end(package):
  return {
    old for old in compat.RENAMED if number(package) >= number(compat.end(old))
  }


def test_no_name_is_read_for_longer_than_was_said():
  late = past_their_end(versions.PACKAGE)
  assert late == compat.ENDED, 'list them in compat.ENDED, which ends them'


def test_the_version_that_ends_a_name_is_two_after_its_renaming():
  assert not past_their_end('0.3.9')
  assert 'policy' in past_their_end('0.4.0') & past_their_end('1.0.0')


def test_every_name_that_people_write_says_when_it_was_renamed():
  assert compat.RENAMED.keys() == {*compat.PATHS, *compat.MODULES}
  assert compat.end('policy') == '0.4'
  for version in compat.RENAMED.values():
    assert number(version) <= number(versions.PACKAGE)[:2]


def test_a_name_that_has_ended_is_read_where_it_is_stored_alone(
  tree, monkeypatch, caplog
):
  monkeypatch.setattr(compat, 'ENDED', frozenset({'policy', 'value'}))
  config = configs.generate(tree)
  with pytest.raises(ConfigError, match='no such section'):
    overrides.override(config, ['--config.policy.units=64'], tree)
  with pytest.raises(ConfigError, match='matches no field'):
    configs.apply(config, {'policy.units': 64}, tree=tree)
  names = ['behavior/policy/kernel', 'encoder/kernel']
  assert compat.searched(names, '^policy/') == set()
  caplog.clear()
  assert compat.config({**SAVED, 'replay': TODAY['replay']}) == TODAY
  assert compat.state_name('policy/kernel') == names[0]
  assert not caplog.records


def test_running_arrays_of_then_are_those_of_today():
  for old, new in {
    'carry|latent|deter': 'carry|dynamics|deter',
    'train|latent|stoch': 'train|dynamics|stoch',
    'carry|action|action': 'carry|action|action',
    'carry|dynamics|deter': 'carry|dynamics|deter',
    'carry|memory|latent|x': 'carry|memory|latent|x',
  }.items():
    assert compat.loop_name(old) == new == compat.loop_name(new)
