import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import traceback
from typing import ClassVar

import pytest
from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import overrides, streams, trust
from dreamer_nnx.config import ConfigError
from dreamer_nnx.contracts import VERSION
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice, Choices, Part, RegistryError, Slot
from dreamer_nnx.schema import Limited, Range
from dreamer_nnx.signatures import takes
from tests import moved, toys
from tests.toys import ENCODER, HEAD, LOGGER, TREE

SIZED = Slot('sized', home='tests.toys', given=(), builds=object)
MAP = pathlib.Path(__file__).parents[1] / 'WORKSPACE.md'


def make():
  return configs.generate(TREE)


def refusal(function, *args, **kwargs):
  with pytest.raises((ConfigError, RegistryError)) as error:
    function(*args, **kwargs)
  return str(error.value).splitlines()[0]


# Generation.


def test_a_choice_is_a_union_with_a_branch_for_every_name():
  node = configs.node(Choice(HEAD, 'scaled', outscale=0.25))
  assert node.to_dict() == {
    'name': 'scaled',
    'scaled': {'outscale': 0.25, 'bins': (5, 7)},
    'plain': {},
  }


def test_choices_are_a_union_with_several_names():
  loggers = ('jsonl', Choice(LOGGER, 'terminal', prefix='# '))
  assert configs.node(Choices(LOGGER, loggers)).to_dict() == {
    'names': ('jsonl', 'terminal'),
    'jsonl': {'name': 'metrics'},
    'terminal': {'prefix': '# '},
  }


def test_a_part_is_its_fields_with_nested_nodes():
  head = Choice(HEAD, 'scaled')
  node = configs.node(
    Part(toys.Predictor, units=9, head=head), every_branch=False
  )
  assert node.to_dict() == {
    'layers': 3,
    'units': 9,
    'head': {'name': 'scaled', 'scaled': {'outscale': 1.0, 'bins': (5, 7)}},
  }


def test_a_slot_inside_itself_is_expanded_for_the_chosen_name_alone():
  assert make().encoder.stacked.first.to_dict() == {
    'name': 'resnet',
    'resnet': {'blocks': 3, 'units': 8},
  }


def test_a_component_with_itself_among_its_fields_has_no_end():
  slot = Slot('loop', home='tests.toys', given=(), builds=object)

  @slot.register('round')
  def round_and_round(*, again: Choice = Choice(slot, 'round')): ...

  assert refusal(configs.node, Choice(slot, 'round')) == (
    'config.loop.round.again.round: round_and_round has itself among its '
    'fields.'
  )


def test_fields_may_not_hide_methods_of_the_node():
  def builder(*, update: int = 3): ...

  assert refusal(configs.node, Part(builder)) == (
    'config.builder.update: config nodes have a method of this name. Rename '
    'the argument of builder.'
  )


def test_a_named_module_brings_its_branch():
  choice = Choice(ENCODER, 'tests.toys:Unregistered', depth=3)
  node = configs.node(choice)
  assert node.name == 'tests.toys:Unregistered'
  assert node.Unregistered.depth == 3
  assert node.simple.depth == 4


def test_a_config_is_locked_and_typed():
  config = make()
  with pytest.raises(AttributeError):
    config.encoder.simple.kernal = 3
  with pytest.raises(TypeError):
    config.encoder.simple.kernel = 'three'
  config.encoder.simple.mults = [4, 5]
  assert config.encoder.simple.mults == (4, 5)


def test_importing_the_module_loads_no_jax():
  code = 'import sys, dreamer_nnx.config; sys.exit("jax" in sys.modules)'
  assert (
    subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
  )


# Binding.


def changed():
  config = make()
  config.seed = 3
  config.encoder.simple.mults = (4, 5)
  config.encoder.simple.head.name = 'plain'
  config.encoder.resnet.blocks = 9
  config.policy.units = 5
  config.policy.head.name = 'scaled'
  config.policy.head.scaled.outscale = 2.5
  config.loggers.names = ('jsonl',)
  config.loggers.jsonl.name = 'numbers'
  config.train.lr = 1
  return config


@pytest.mark.parametrize(
  'form', [lambda c: c, lambda c: configs.resolve(c, TREE)]
)
def test_binding_puts_the_values_of_a_node_back(form):
  bound = configs.bind_all(form(changed()), TREE)
  encoder = bound['encoder'](size=2, scale=10)
  assert encoder.fields == (8, 3, 0.5, (4, 5), 'silu', True)
  assert encoder.head == toys.plain(size=2)
  policy = bound['policy'](size=7)
  assert (policy.layers, policy.units) == (1, 5)
  assert policy.head == toys.Scaled(7, 2.5)
  assert bound['loggers'](workdir='w') == ('w/numbers.jsonl',)
  assert bound['train']() == toys.Train(lr=1.0)
  assert bound['seed'] == 3


def test_binding_knows_the_paths():
  config = make()
  config.encoder.simple.head.scaled.outscale = -1.0
  bound = configs.bind(TREE['encoder'], config.encoder, 'config.eyes')
  assert bound.where == 'config.eyes'
  with pytest.raises(ValueError) as error:
    bound(size=2, scale=1)
  assert str(error.value) == (
    'config.eyes.simple.head.scaled.outscale = -1.0: must not be negative.'
  )


def test_a_name_without_a_branch_has_its_defaults():
  config = make()
  config.encoder.name = 'stacked'
  config.encoder.stacked.first.name = 'simple'
  bound = configs.bind(TREE['encoder'], config.encoder, 'config.encoder')
  built = bound(size=2, scale=1)
  assert built.first.fields == (4, 3, 0.5, (2, 3), 'silu', True)


def test_differences_of_the_tree_belong_to_their_name_alone():
  bound = configs.bind(TREE['encoder'], {'name': 'simple'}, 'config.encoder')
  assert bound.values()['depth'] == 8
  node = {'name': 'tests.toys:Unregistered'}
  bound = configs.bind(TREE['encoder'], node, 'config.encoder')
  assert bound.values()['depth'] == 6


# Resolving and saving.


def test_resolving_keeps_the_chosen_branches():
  assert configs.resolve(changed(), TREE).to_dict() == {
    'seed': 3,
    'plugins': (),
    'encoder': {
      'name': 'simple',
      'simple': {
        'depth': 8,
        'kernel': 3,
        'rate': 0.5,
        'mults': (4, 5),
        'act': 'silu',
        'bias': True,
        'head': {'name': 'plain', 'plain': {}},
      },
    },
    'policy': {
      'layers': 1,
      'units': 5,
      'head': {'name': 'scaled', 'scaled': {'outscale': 2.5, 'bins': (5, 7)}},
    },
    'loggers': {'names': ('jsonl',), 'jsonl': {'name': 'numbers'}},
    'train': {'lr': 1.0, 'steps': 1000, 'resume': False},
  }


def test_resolving_twice_is_resolving_once():
  once = configs.resolve(changed(), TREE)
  assert configs.resolve(once, TREE) == once


def test_a_config_comes_back_from_json_and_can_be_changed():
  config = configs.from_json(configs.to_json(changed(), TREE), TREE)
  assert configs.resolve(config, TREE) == configs.resolve(changed(), TREE)
  assert config.encoder.simple.mults == (4, 5)
  config.encoder.name = 'resnet'
  assert config.encoder.resnet.blocks == 2


def test_a_named_module_comes_back_from_json():
  choice = Choice(ENCODER, 'tests.toys:Unregistered', depth=3)
  config = configs.generate(TREE | {'encoder': choice})
  text = configs.to_json(config, TREE)
  back = configs.from_json(text, TREE, trust_config=True)
  assert back.encoder.Unregistered.depth == 3


@pytest.mark.parametrize(
  ('saved', 'message'),
  [
    ({'sed': 3}, ".sed: there is no such section. Did you mean 'seed'?"),
    ({'seed': 1.5}, '.seed = 1.5: must be an int.'),
    ({'plugins': 3}, '.plugins = 3: must be a tuple.'),
    ({'plugins': [3]}, '.plugins = (3,): must be a tuple of str.'),
    ({'train': 3}, '.train = 3: is a section, not a value.'),
    (
      {'train': {'lrr': 3}},
      ".train.lrr: Train has no such field. Did you mean 'lr'?",
    ),
    ({'encoder': {'simple': {}}}, ".encoder: has no 'name'."),
    ({'encoder': {'name': 3}}, '.encoder.name = 3: must be a str.'),
    (
      {'encoder': {'name': 'simpel'}},
      ".encoder.name = 'simpel': no encoder has this name. Did you mean "
      "'simple'?",
    ),
    (
      {'encoder': {'name': 'simple', 'simple': {'depht': 3}}},
      '.encoder.simple.depht: SimpleEncoder has no such field. Did you mean '
      "'depth'?",
    ),
    (
      {'encoder': {'name': 'simple', 'simple': {'head': {'name': 'x'}}}},
      ".encoder.simple.head.name = 'x': no head has this name.",
    ),
    (
      {'loggers': {'names': ['jsonl', 'x']}},
      ".loggers.names = 'x': no logger has this name.",
    ),
    (
      {'loggers': {'names': ['jsonl', 'jsonl']}},
      ".loggers.names = ('jsonl', 'jsonl'): a name comes twice.",
    ),
  ],
)
def test_what_does_not_fit_the_tree_is_said_by_path(saved, message):
  error = refusal(configs.from_json, json.dumps(saved), TREE)
  assert error == f'config{message}'


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    (
      '{"seed": ',
      'config: not JSON (Expecting value: line 1 column 10 (char 9)).',
    ),
    ('[3]', 'config: not a JSON object.'),
  ],
)
def test_only_json_objects_are_configs(text, message):
  assert refusal(configs.from_json, text, TREE) == message


# Patterns and sizes.


def test_leaves_are_all_fields_by_path():
  nested = ConfigDict({'a': {'b': 1, 'c': {'d': (2,)}}, 'e': 'f'})
  assert configs.leaves(nested) == {'a.b': 1, 'a.c.d': (2,), 'e': 'f'}


def test_one_star_is_one_name_and_two_stars_are_any():
  config = ConfigDict(
    {'a': {'u': 1, 'b': {'u': 2}}, 'c': {'u': 3}, 'u': 4, 'v': 5}
  ).lock()
  configs.apply(config, {'**.u': 10, '*.u': 20, 'a.*.u': 30, 'v': 50})
  assert configs.leaves(config) == {
    'a.u': 20,
    'a.b.u': 30,
    'c.u': 20,
    'u': 4,
    'v': 50,
  }


@pytest.mark.parametrize(
  ('pattern', 'message'),
  [
    ('**.depht', "config: '**.depht' matches no field. Did you mean 'depth'?"),
    (
      'encoder.simple.depht',
      "config: 'encoder.simple.depht' matches no field. Did you mean "
      "'encoder.simple.depth'?",
    ),
    ('**.blocks', "config.encoder.resnet.blocks = 'x': must be an int."),
  ],
)
def test_a_pattern_that_does_not_fit_sets_nothing(pattern, message):
  config = make()
  assert refusal(configs.apply, config, {'seed': 9, pattern: 'x'}) == message
  assert config.seed == 0


def test_sizes_suggest():
  assert refusal(configs.base, '12mb', tree=TREE) == (
    "size = '12mb': no such size. Did you mean '12m'? Known: 1m, 12m, 25m, "
    '50m, 100m, 200m, 400m.'
  )


class Sized:
  sizes: ClassVar = {'1m': {'width': 2}, '12m': {'width': 12, 'depth': 6}}

  def __init__(self, *, width: int = 1, depth: int = 1, units: int = 1): ...


class Owner(Sized):
  """Has the fields of the class it inherits from, and parts."""

  def __init__(
    self,
    *,
    width: int = 1,
    depth: int = 1,
    part: Part = Part(Sized, depth=9),
    again: Choice = Choice(SIZED, 'built'),
  ): ...


@SIZED.register('built')
@takes(Sized)
def built(*, own: int = 1, **taken): ...


@SIZED.register('other')
def other(*, width: float = 1.0, depth: int = 5, units: int = 5): ...


built.sizes['12m']['own'] = 3
SIZED_TREE = {
  'plugins': (),
  'a': Part(Owner),
  'b': Choice(SIZED, 'other'),
  'c': Choices(SIZED),
}


def test_a_size_sets_what_components_declare_for_it():
  before = configs.leaves(configs.base(tree=SIZED_TREE))
  after = configs.leaves(configs.base('12m', tree=SIZED_TREE))
  built = {'width': 12, 'depth': 6, 'own': 3}
  of_built = lambda path: {f'{path}.{k}': x for k, x in built.items()}
  assert {k: x for k, x in after.items() if x != before[k]} == {
    'a.width': 12,
    'a.depth': 6,
    'a.part.width': 12,
    'a.part.depth': 6,
    # Of every branch, chosen or not; what declares nothing stays.
    **of_built('a.again.built'),
    **of_built('b.built'),
    **of_built('c.built'),
  }
  # Fields that a preset does not name stay, too.
  after = configs.base('1m', tree=SIZED_TREE)
  assert (after.a.width, after.a.part.depth, after.a.depth) == (2, 9, 1)
  assert configs.base('50m', tree=SIZED_TREE) == configs.base(tree=SIZED_TREE)


def test_a_size_reaches_a_component_that_is_named_by_its_module():
  config = configs.base(tree=SIZED_TREE)
  patterns = {'b.name': 'tests.test_config:Owner', 'c.names': ('other',)}
  configs.apply(config, patterns, tree=SIZED_TREE)
  configs.apply_size(config, '12m', SIZED_TREE)
  assert config.b.Owner.width == config.b.Owner.part.width == 12
  assert config.c.other.depth == 5
  configs.apply(config, {'**.depth': 7, 'b.**.width': 8}, tree=SIZED_TREE)
  assert config.c.other.depth == config.b.Owner.depth == config.a.depth == 7
  assert config.b.Owner.width == 8 and config.a.width == 12


@pytest.mark.parametrize(
  ('sizes', 'message'),
  [
    (
      {'12M': {'width': 3}},
      ".sizes = '12M': no such size. Did you mean '12m'? Known: 1m, 12m, ",
    ),
    (
      {'1m': {'widht': 3}},
      ".sizes: there is no field 'widht'. Did you mean 'width'?",
    ),
    (
      {'1m': {'width': 2.5}},
      ".sizes['1m']['width'] = 2.5: must be an int.",
    ),
  ],
)
@pytest.mark.parametrize('part', [False, True])
def test_sizes_that_do_not_fit_are_refused(sizes, message, part):
  def mine(*, width: int = 1): ...

  mine.sizes = sizes
  with pytest.raises(RegistryError) as error:
    if part:
      configs.base('1m', tree={'a': Part(mine)})
    else:
      SIZED.register('mine')(mine)
  assert f'mine{message}' in str(error.value)
  assert 'mine' not in SIZED.names()


def test_an_attribute_of_that_name_may_be_something_else():
  class Mine:
    def __init__(self, *, width: int = 1): ...
    def sizes(self): ...

  tree = {'a': Part(Mine)}
  assert configs.base('1m', tree=tree) == configs.base(tree=tree)


def test_a_size_sets_the_widths_of_the_toolkit():
  config = configs.base('12m')
  rssm, encoder = config.dynamics.rssm, config.encoder.simple
  assert (rssm.deter, rssm.hidden, rssm.stochastic.categorical.classes) == (
    2048,
    256,
    16,
  )
  assert (encoder.depth, encoder.units) == (16, 256)
  actor_critic = config.behavior.actor_critic
  assert actor_critic.policy.mlp.units == actor_critic.value.units == 256
  assert config.reward.units == config.cont.units == 256


def test_the_default_size_is_that_of_the_signatures():
  assert configs.base('50m') == configs.base()


def test_the_config_of_the_toolkit_comes_back_from_json():
  config = configs.base('1m')
  text = configs.to_json(config)
  again = configs.from_json(text)
  # What is not chosen is not saved.
  assert again.keys() == config.keys() and configs.to_json(again) == text
  assert configs.bind_all(again) == configs.bind_all(config)


# Plugins.


def plugin(folder, name):
  (folder / f'{name}.py').write_text(
    'from dreamer_nnx.registry import RegistryError\n'
    'from tests.test_config import OPEN\n\n'
    f"@OPEN.register('{name}')\n"
    'def build(*, wings: int = 2): ...\n',
    encoding='utf-8',
  )


OPEN = Slot('open', home='tests.toys', given=(), builds=object)
OPEN.register('shut')(toys.terminal)
OPEN_TREE = {'plugins': (), 'thing': Choice(OPEN, 'shut')}


def test_plugins_are_loaded_before_the_tree_and_named_in_the_config(
  tmp_path, monkeypatch
):
  plugin(tmp_path, 'winged')
  monkeypatch.syspath_prepend(tmp_path)
  config = configs.generate(OPEN_TREE, plugins=['winged'])
  assert config.plugins == ('winged',)
  config.thing.name = 'winged'
  config.thing.winged.wings = 4
  text = configs.to_json(config, OPEN_TREE)
  assert configs.from_json(text, OPEN_TREE, trust_config=True) == config


def test_a_plugin_may_be_an_entry_point_and_is_loaded_by_name_only(
  tmp_path, monkeypatch
):
  plugin(tmp_path, 'feathered')
  info = tmp_path / 'birds-1.dist-info'
  info.mkdir()
  (info / 'METADATA').write_text('Name: birds\nVersion: 1\n', encoding='utf-8')
  (info / 'entry_points.txt').write_text(
    '[dreamer_nnx.plugins]\nbirds-of-prey = feathered\n', encoding='utf-8'
  )
  monkeypatch.syspath_prepend(tmp_path)
  configs.generate(OPEN_TREE)
  assert 'feathered' not in sys.modules
  configs.generate(OPEN_TREE, plugins=['birds-of-prey'])
  assert 'feathered' in OPEN.names()
  assert refusal(configs.load_plugins, ['birds-of-pray']) == (
    "config.plugins: 'birds-of-pray' is neither a module that can be imported "
    "nor an entry point of the group 'dreamer_nnx.plugins'. Did you mean "
    "'birds-of-prey'?"
  )


@pytest.mark.parametrize(
  ('text', 'kind'),
  [
    ('import not_installed', ModuleNotFoundError),
    ('def f(:', SyntaxError),
    ('raise KeyError(3)', KeyError),
    ("open('nowhere')", ImportError),
  ],
)
@pytest.mark.parametrize('entry_point', [False, True])
def test_a_fault_in_a_plugin_names_the_field_and_keeps_its_traceback(
  text, kind, entry_point, tmp_path, monkeypatch
):
  module = f'faulty_{kind.__name__}_{entry_point}'
  (tmp_path / f'{module}.py').write_text(text, 'utf-8')
  info = tmp_path / 'faults-1.dist-info'
  info.mkdir()
  (info / 'METADATA').write_text('Name: faults\nVersion: 1\n', 'utf-8')
  points = f'[dreamer_nnx.plugins]\nfault-y = {module}\n'
  (info / 'entry_points.txt').write_text(points, 'utf-8')
  monkeypatch.syspath_prepend(tmp_path)
  name = 'fault-y' if entry_point else module
  with pytest.raises(kind) as error:
    configs.load_plugins([name])
  assert not isinstance(error.value, UserError)
  shown = ''.join(traceback.format_exception(error.value))
  assert f"named by config.plugins = '{name}'" in shown
  assert f'{module}.py' in shown


def test_a_mistake_in_a_plugin_is_said_with_the_field(tmp_path, monkeypatch):
  text = 'from tests import test_config as t\nt.OPEN.register("name")(dict)'
  (tmp_path / 'mistaken.py').write_text(text, 'utf-8')
  monkeypatch.syspath_prepend(tmp_path)
  assert refusal(configs.load_plugins, ['mistaken']).startswith(
    "config.plugins: open 'name': a name is a Python identifier"
  )


@pytest.mark.parametrize('order', [1, -1])
def test_patterns_load_plugins_and_set_what_they_bring(
  order, tmp_path, monkeypatch
):
  name = f'striped{order}'.replace('-', '_')
  plugin(tmp_path, name)
  monkeypatch.syspath_prepend(tmp_path)
  config = configs.generate(OPEN_TREE)
  patterns = {'plugins': (name,), 'thing.name': name, f'thing.{name}.wings': 4}
  patterns = dict(list(patterns.items())[::order])
  configs.apply(config, patterns, tree=OPEN_TREE)
  assert config.is_locked
  assert configs.resolve(config, OPEN_TREE).to_dict() == {
    'plugins': (name,),
    'thing': {'name': name, name: {'wings': 4}},
  }


@pytest.mark.parametrize('order', [1, -1])
def test_patterns_name_modules_and_set_their_fields(order):
  config = configs.generate(TREE)
  patterns = {
    'encoder.name': 'stacked',
    'encoder.stacked.first.name': 'tests.toys:Unregistered',
    'encoder.stacked.first.Unregistered.depth': 9,
    'encoder.stacked.first.Unregistered.head.name': 'scaled',
    '**.Unregistered.head.scaled.outscale': 4.0,
  }
  configs.apply(config, dict(list(patterns.items())[::order]), tree=TREE)
  first = configs.resolve(config, TREE).encoder.stacked.first
  assert first.Unregistered.depth == 9
  assert first.Unregistered.head.scaled.outscale == 4.0


def test_patterns_of_a_component_that_is_none_set_nothing():
  config = make()
  patterns = {'encoder.name': 'tests.toys:Nothing', 'seed': 9}
  assert refusal(configs.apply, config, patterns, tree=TREE) == (
    "config.encoder.name = 'tests.toys:Nothing': module 'tests.toys' has no "
    "'Nothing'."
  )
  assert config == make()


def test_plugins_set_by_hand_are_loaded_when_the_config_is_bound(
  tmp_path, monkeypatch
):
  plugin(tmp_path, 'handmade')
  monkeypatch.syspath_prepend(tmp_path)
  config = configs.generate(OPEN_TREE)
  config.plugins = ('handmade',)
  config.thing.name = 'handmade'
  assert configs.resolve(config, OPEN_TREE).thing.handmade.wings == 2


# The contracts that a plugin is for.

CHANGED = 'CHANGELOG.md and docs/plugins.md say what changed.'


def contracted(folder, name, version, fault=''):
  """Writes a package with a plugin, and what it says of the contracts."""
  (folder / name).mkdir()
  mark = f'DREAMER_NNX_CONTRACTS = {version}\n' if version else ''
  (folder / name / '__init__.py').write_text(mark, 'utf-8')
  (folder / name / 'parts.py').write_text(
    'from tests.test_config import OPEN\n\n'
    f"@OPEN.register('{name}')\n"
    'def build(*, wings: int = 2):\n'
    f'  {fault or "return wings"}\n',
    'utf-8',
  )


@pytest.mark.parametrize('by', ['plugin', 'attribute'])
@pytest.mark.parametrize('version', [1, VERSION, 3, "'one'", ''])
def test_a_plugin_for_other_contracts_is_warned_about_once(
  version, by, tmp_path, monkeypatch, caplog
):
  said = str(version).strip("'")
  name = f'for_{by}_{said}'
  contracted(tmp_path, name, version)
  monkeypatch.syspath_prepend(tmp_path)
  for _ in range(2):
    if by == 'plugin':
      configs.load_plugins([f'{name}.parts'])
    else:
      assert Choice(OPEN, f'{name}.parts:build')() == 2
  other = [
    f'{name}.parts is for version {said} of the contracts '
    f'(DREAMER_NNX_CONTRACTS); here they are of version {VERSION}. {CHANGED}'
  ]
  texts = [record.message for record in caplog.records]
  assert texts == ([] if version in (VERSION, '') else other)


@pytest.mark.parametrize(
  ('version', 'said'),
  [
    ('', 'does not say by DREAMER_NNX_CONTRACTS which contracts it is for'),
    (1, 'is for version 1 of the contracts (DREAMER_NNX_CONTRACTS)'),
    (VERSION, ''),
  ],
)
def test_an_error_of_a_plugin_says_which_contracts_it_is_for(
  version, said, tmp_path, monkeypatch
):
  name = f'failing_{version}'
  contracted(tmp_path, name, version, 'raise KeyError(3)')
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(KeyError) as error:
    Choice(OPEN, f'{name}.parts:build')()
  first, *rest = error.value.__notes__
  assert first.startswith('while building config.open.build')
  note = f'{name}.parts {said}; here they are of version {VERSION}. {CHANGED}'
  assert rest == ([note] if said else [])


def test_the_version_is_that_of_the_module_or_the_nearest_package(
  tmp_path, monkeypatch, caplog
):
  contracted(tmp_path, 'inner_says', 1)
  file = tmp_path / 'inner_says' / 'parts.py'
  mark = f'DREAMER_NNX_CONTRACTS = {VERSION}\n'
  file.write_text(mark + file.read_text('utf-8'), 'utf-8')
  monkeypatch.syspath_prepend(tmp_path)
  configs.load_plugins(['inner_says.parts'])
  assert not caplog.records


# Sections, and fields, of several components, or none.

NESTED = 'replay.chunked.filters'
SEVERAL = pytest.mark.parametrize('path', ['extras', NESTED])
NONE = moved.tree()


@SEVERAL
def test_no_component_is_a_default_that_flags_and_patterns_change(path):
  names = f'{path}.names'
  config = configs.generate(NONE)
  assert configs.leaves(config)[names] == ()
  argv = [f'--config.{path}.priority.share=0.5']
  argv += [f'--config.{names}=priority,recency']
  overrides.override(config, argv, NONE)
  found = configs.leaves(configs.resolve(config, NONE))
  found = {k: x for k, x in found.items() if k.startswith(path)}
  assert found == {
    names: ('priority', 'recency'),
    f'{path}.priority.share': 0.5,
    f'{path}.priority.exponent': 0.8,
    f'{path}.recency.share': 1.0,
  }
  # Saved, and read again.
  again = configs.from_json(configs.to_json(config, NONE), NONE)
  assert configs.resolve(again, NONE) == configs.resolve(config, NONE)
  # None again.
  overrides.override(again, [f'--config.{names}='], NONE)
  configs.apply(config, {names: ()}, tree=NONE)
  for each in (again, config):
    resolved = configs.resolve(each, NONE)
    found = [k for k in configs.leaves(resolved) if k.startswith(path)]
    assert found == [names] and configs.leaves(resolved)[names] == ()
    back = configs.from_json(configs.to_json(resolved, NONE), NONE)
    assert configs.leaves(back)[names] == ()


@SEVERAL
@pytest.mark.parametrize('by', ['flag', 'pattern'])
def test_names_of_several_may_be_modules(path, by):
  config, field = configs.generate(NONE), f'{path}.recency_too.share'
  names = ('uniform', 'tests.test_config:recency_too')
  if by == 'flag':
    flags = {field: 0.5, f'{path}.names': ','.join(names)}
    argv = [f'--config.{k}={x}' for k, x in flags.items()]
    overrides.override(config, argv, NONE)
  else:
    patterns = {field: 0.5, f'{path}.names': names}
    configs.apply(config, patterns, tree=NONE)
  bound = configs.bind_all(configs.resolve(config, NONE), NONE)
  filters, extras = bound['replay']().fields['filters'], bound['extras']()
  assert (filters if path == NESTED else extras) == (1.0, ('too', 0.5))
  text = configs.to_json(config, NONE)
  with pytest.raises(trust.UntrustedError, match='recency_too'):
    configs.from_json(text, NONE)
  again = configs.from_json(text, NONE, trust_config=True)
  assert configs.leaves(again)[field] == 0.5


def recency_too(*, share: float = 1.0):
  return 'too', share


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('names', 'prioriti', "no selector has this name. Did you mean 'priority'"),
    ('names', 'uniform,uniform', 'a name comes twice.'),
    ('priority.share', '1', "'priority' is not chosen. Set --config."),
    ('name', 'uniform', "Did you mean 'names'?"),
  ],
)
@SEVERAL
def test_what_is_wrong_with_several_is_said(path, field, value, message):
  argv = [f'--config.{path}.{field}={value}']
  config = configs.generate(NONE)
  assert message in refusal(overrides.override, config, argv, NONE)


def test_nested_components_know_their_paths():
  config = configs.generate(NONE)
  configs.apply(config, {f'{NESTED}.names': ('recency',)}, tree=NONE)
  values = configs.bind_all(config, NONE)['replay'].values()
  (choice,) = values['filters']
  assert choice.path == f'config.{NESTED}.recency'
  assert values['selectors'].where == 'config.replay.chunked.selectors'


# Values that make no sense.


@dataclasses.dataclass(frozen=True)
class Span:
  low: int = 0
  high: int = 4

  def __post_init__(self):
    if self.low > self.high:
      raise UserError('must not be above high.', 'low', self.low)


def spanned(size: int, *, span: Part = Part(Span)): ...


LIMITED_TREE = {
  'seed': Limited(0, (Range(0, 9),)),
  'span': Part(Span),
  'deep': Part(spanned),
}


def test_a_default_of_the_tree_may_have_limits():
  config = configs.generate(LIMITED_TREE)
  assert config.seed == 0
  assert configs.bind_all({}, LIMITED_TREE)['seed'] == 0
  config.seed = 9
  assert configs.bind_all(config, LIMITED_TREE)['seed'] == 9
  assert configs.resolve(config, LIMITED_TREE).seed == 9
  config.seed = 10
  assert refusal(configs.resolve, config, LIMITED_TREE) == (
    'config.seed = 10: must be at least 0 and at most 9.'
  )


@pytest.mark.parametrize('path', ['span', 'deep.span'])
def test_values_that_contradict_each_other_are_refused_when_resolved(path):
  config = configs.generate(LIMITED_TREE)
  with config.unlocked():
    config.update_from_flattened_dict({f'{path}.low': 5})
  with pytest.raises(UserError) as error:
    configs.resolve(config, LIMITED_TREE)
  assert str(error.value) == (f'config.{path}.low = 5: must not be above high.')


def test_seeds_are_what_streams_take():
  config = configs.base()
  for seed in (-1, 2**32, 2**63):
    config.seed = seed
    assert refusal(configs.resolve, config) == (
      f'config.seed = {seed}: must be at least 0 and at most 4294967295.'
    )
  config.seed = 2**32 - 1
  assert configs.resolve(config).seed == 2**32 - 1
  streams.seed(config.seed, streams.Stream.REPLAY)


def test_map_says_where_the_numbers_of_each_section_are():
  text = MAP.read_text('utf-8').partition('\n## The config\n')[2]
  rows = re.findall(r'^\| (`[^|]*) \|', text.partition('\n## ')[0], re.M)
  names = re.findall(r'`(\w+)`', ' '.join(rows))
  assert sorted(names) == sorted(configs.sections())
