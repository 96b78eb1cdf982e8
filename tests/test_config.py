import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import traceback

import pytest
from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import streams
from dreamer_nnx.config import ConfigError
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice, Choices, Part, RegistryError, Slot
from dreamer_nnx.schema import Limited, Range
from tests import toys
from tests.toys import ENCODER, HEAD, LOGGER, TREE

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
  encoder = bound['encoder'](size=2)
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
    bound(size=2)
  assert str(error.value) == (
    'config.eyes.simple.head.scaled.outscale = -1.0: must not be negative.'
  )


def test_a_name_without_a_branch_has_its_defaults():
  config = make()
  config.encoder.name = 'stacked'
  config.encoder.stacked.first.name = 'simple'
  bound = configs.bind(TREE['encoder'], config.encoder, 'config.encoder')
  assert bound(size=2).first.fields == (4, 3, 0.5, (2, 3), 'silu', True)


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


def test_sizes_suggest_and_are_all_or_nothing():
  assert refusal(configs.base, '12mb', tree=TREE) == (
    "size = '12mb': no such size. Did you mean '12m'? Known: 1m, 12m, 25m, "
    '50m, 100m, 200m, 400m.'
  )
  assert refusal(configs.base, '12m', tree=TREE) == (
    "size 12m: 'dynamics.rssm.deter' matches no field."
  )


def test_a_size_sets_the_widths_of_the_toolkit():
  config = configs.base('12m')
  rssm, encoder = config.dynamics.rssm, config.encoder.simple
  assert (rssm.deter, rssm.hidden, rssm.classes) == (2048, 256, 16)
  assert (encoder.depth, encoder.units) == (16, 256)
  assert config.policy.units == config.value.units == 256


def test_the_default_size_is_that_of_the_signatures():
  assert configs.base('50m') == configs.base()


def test_the_config_of_the_toolkit_comes_back_from_json():
  config = configs.base('1m')
  assert configs.from_json(configs.to_json(config)) == config


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
