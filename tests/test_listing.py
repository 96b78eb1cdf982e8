"""Lists of slots, components and fields, as texts and by the launcher."""

import dataclasses
import os
import re
import sys
from typing import Annotated

import pytest

from dreamer_nnx import commandline, explaining, listing
from dreamer_nnx import config as configs
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice, Part, fields
from dreamer_nnx.schema import OneOf, Range
from dreamer_nnx.slots import HEAD, SLOTS
from dreamer_nnx.testing.new import PATHS
from tests import pages
from tests.launcher import ROOT, finish, spawn

SECTIONS = ('seed', 'plugins', 'train', 'mesh', 'reward', 'agent')


@dataclasses.dataclass(frozen=True)
class Inner:
  """A part.

  Args:
    size: Numbers of the vector; 0 for as many as there are.
  """

  size: Annotated[int, Range(0)] = 0


@dataclasses.dataclass(frozen=True)
class Sample:
  """Ignores what it sees."""

  inner: Part = Part(Inner)
  kind: Annotated[str, OneOf('a', 'b')] = 'a'
  sides: Annotated[tuple[int, ...], Range(1, length=2)] = (3, 4)
  head: Choice = Choice(HEAD, 'mse', outscale=0.5)


@pytest.fixture(scope='module')
def config():
  return configs.resolve(configs.generate())


@pytest.fixture(scope='module')
def everything(config):
  return listing.describe(config, 'all')


@pytest.fixture(scope='module')
def overview(config):
  return listing.describe(config)


def unwrapped(text):
  """The text without the line breaks of wrapping."""
  return re.sub(r'\n +', ' ', text)


def test_overview_has_an_entry_for_each_slot(overview):
  text = unwrapped(overview)
  places = listing.places(configs.generate())
  for slot in SLOTS:
    names = ', '.join(slot.names()) or 'none is built in'
    where = listing.where_chosen(slot, places)
    row = f'\n{slot.name:<14}{listing.makes(slot)} {where}: {names}'
    assert f'{row}\n' in text or f'{row} ' in text, slot
    assert f'config.{PATHS[slot.name]}' == where.removesuffix(' and others')


def test_overview_has_the_other_sections(overview):
  for name in SECTIONS:
    assert re.search(
      rf'^{name} +{listing.of_sections()[name]}', unwrapped(overview), re.M
    )
  # Those that choose components are where their slots are.
  rest = overview.partition('Other sections')[2].partition('--slot')[0]
  names = re.findall(r'^(\w+) ', rest, re.M)
  assert set(SECTIONS) <= set(names) <= set(configs.sections())
  assert not {'optimizer', 'loggers', 'env'} & set(names)


def test_the_table_of_the_documentation_says_the_same():
  # Other tests may have registered components of their own.
  entries = [entry for slot in SLOTS for entry in slot.entries()]
  own = [x for x in entries if not x.builder.__module__.startswith('dreamer_')]
  others = [f'.{entry.name}.' for entry in own]
  places = [
    place
    for place in listing.places(configs.generate())
    if not any(name in place.path for name in others)
  ]
  rows = re.findall(
    r'^\| `(\w+)` \| (.*) \|$', pages.text('docs/components.md'), re.M
  )
  assert [name for name, _ in rows] == [slot.name for slot in SLOTS]
  for slot, (_, row) in zip(SLOTS, rows, strict=True):
    path, *others = listing.where_chosen(slot, places).split(' ', 1)
    given = ', '.join(f'`{name}`' for name in slot.given) or 'nothing'
    if slot.name == 'replay':
      given = 'see `dreamer_nnx/slots.py`'
    where = ' '.join([f'`{path}`', *others])
    assert row == f'{where} | {given} | {listing.makes(slot)}'


def test_components_of_a_slot_have_all_their_fields(config):
  text = unwrapped(listing.describe(config, 'optimizer'))
  assert text.startswith('optimizer: An optax gradient transformation')
  assert "given: nothing config.optimizer.name = 'dreamer'" in text
  for name in ('adamw', 'dreamer'):
    block = re.search(rf'^{name}: .*', text, re.M)[0]
    assert f'[dreamer_nnx.optimizers.{name}]' in block
    call = Choice(next(s for s in SLOTS if s.name == 'optimizer'), name)
    for field, default in fields(call.builder, ()).items():
      assert f' {field} = {default!r}: ' in block
  # Declared by itself, and taken from another function.
  assert ' eps = 1e-08: Added to the root' in text
  assert '[at least 0 and at most 2147483647]' in text
  assert "[one of 'const', 'linear', 'cosine']" in text


def test_fields_have_default_meaning_and_range_and_parts_theirs_below():
  found = list(listing.fields_of(Part(Sample)))
  assert [field.name for field in found] == [
    'inner',
    'inner.size',
    'kind',
    'sides',
    'head',
  ]
  lines = [line.text.strip() for line in listing.lines_of(found)]
  assert lines == [
    'inner: (no meaning in its docstring) [a section]',
    'inner.size = 0: Numbers of the vector; 0 for as many as there are. '
    '[at least 0]',
    "kind = 'a': (no meaning in its docstring) [one of 'a', 'b']",
    'sides = (3, 4): (no meaning in its docstring) [each at least 1, 2 or more '
    'of them]',
    "head.name = 'mse': (no meaning in its docstring) [of the slot head, with "
    'outscale = 0.5]',
  ]


def test_sections_have_their_fields_and_the_defaults_of_the_config(config):
  text = unwrapped(listing.describe(config, 'train'))
  assert text.startswith('train: ')
  assert re.search(
    r' train_ratio = 32.0: .* 0 never trains. \[at least 0\]', text
  )
  # Not those of the builder.
  text = listing.describe(config, 'reward')
  assert re.search(r"^  head.name = 'symexp_twohot'", text, re.M)
  text = listing.describe(config, 'seed')
  assert re.match(r'  seed = 0: .*\[at least 0 and', unwrapped(text))


def test_a_section_that_chooses_is_its_slot(config):
  for section, slot in (('loggers', 'logger'), ('callbacks', 'callback')):
    text = listing.describe(config, section)
    assert text == listing.describe(config, slot)


def test_choices_are_those_in_effect():
  config = configs.generate()
  config.behavior.name = 'cem'
  config.behavior.cem.policy.name = 'masked'
  text = listing.describe(config, 'policy')
  assert "\n  config.behavior.cem.policy.name = 'masked'\n" in text
  assert 'config.behavior.actor_critic' not in text
  config.replay.name = 'dataset'
  text = listing.describe(config, 'selector')
  assert 'config.replay.chunked.selectors.names and others, not in' in text


def test_a_component_that_is_registered_nowhere_is_listed_where_it_is_chosen():
  config = configs.generate()
  tag = f'{__name__}:Sample'
  configs.apply(config, {'encoder.name': tag})
  text = unwrapped(listing.describe(config, 'encoder'))
  assert f'\n{tag}: Ignores what it sees. [{__name__}] inner: ' in text
  assert tag not in listing.describe(configs.generate(), 'encoder')


def test_all_is_everything(everything, config):
  for slot in SLOTS:
    assert f'{slot.name}: {listing.makes(slot)}' in unwrapped(everything)
    for entry in slot.entries():
      assert re.search(rf'^{entry.name}: ', everything, re.M), entry.name
  for name in SECTIONS:
    assert listing.describe(config, name) in everything


def test_no_meaning_is_missing(everything):
  own = [x for x in everything.split('\n\n') if '[tests.' not in x]
  assert listing.UNSAID not in unwrapped('\n\n'.join(own))


@pytest.mark.parametrize('width', [50, 80])
def test_lines_are_wrapped_and_indented(config, width):
  text = listing.describe(config, 'replay', width)
  lines = text.splitlines()
  assert max(map(len, lines)) <= width
  (first,) = [i for i, x in enumerate(lines) if x.startswith('  context = -1:')]
  assert lines[first + 1].startswith(' ' * 6 + 'dynamics' * (width == 80))
  assert len(text.split()) == len(listing.describe(config, 'replay').split())


@pytest.mark.parametrize(
  ('name', 'meant'),
  [
    ('encodr', 'encoder'),
    ('objektive', 'objective'),
    ('trian', 'train'),
    ('al', 'all'),
    ('logers', 'loggers'),
  ],
)
def test_an_unknown_slot_is_refused_with_a_suggestion(config, name, meant):
  with pytest.raises(UserError) as error:
    listing.describe(config, name)
  assert str(error.value).startswith(
    f'--slot = {name!r}: there is no such slot or section. Did you mean '
    f'{meant!r}? Known: encoder, dynamics, '
  )
  assert error.value.status == 2


@pytest.mark.parametrize('mode', ['train', 'evaluate', 'show'])
def test_a_slot_without_the_list_is_refused(mode):
  with pytest.raises(UserError) as error:
    commandline.check_flags(mode, ['slot'], in_bucket=False)
  assert str(error.value) == (
    '--slot: chooses what --mode=list prints. Add --mode=list, or leave it out.'
  )


@pytest.mark.parametrize(
  'flag',
  [
    'restore',
    'profile',
    'scratch',
    'restore_step',
    'distributed',
    'process_id',
  ],
)
def test_flags_of_runs_are_refused_beside_the_list(flag):
  with pytest.raises(
    UserError, match=f'--{flag}: has no effect with --mode=li'
  ):
    commandline.check_flags('list', [flag], in_bucket=False)


def test_flags_of_the_list_are_accepted():
  given = ['mode', 'slot', 'config', 'workdir', 'debug']
  commandline.check_flags('list', given, in_bucket=False)


def test_a_reader_that_has_seen_enough_is_no_error(monkeypatch):
  reading, writing = os.pipe()
  os.close(reading)
  with open(writing, 'w') as closed:
    monkeypatch.setattr(sys, 'stdout', closed)
    explaining.write('text')
    explaining.write('and more')


def test_the_launcher_lists_plugins_without_a_config_or_a_device(tmp_path):
  pages.modules(tmp_path)
  paths = os.pathsep.join((str(tmp_path), str(ROOT)))
  # An array would need a device of this kind.
  more = {'PYTHONPATH': paths, 'JAX_PLATFORMS': 'nothing', 'COLUMNS': '120'}
  argv = ['--mode=list', '--slot=encoder', '--config.plugins=dense_encoder']
  result = finish(spawn(argv, more=more))
  assert result.status == 0, result.out
  text = unwrapped(result.out)
  assert "config.encoder.name = 'simple'" in text
  assert (
    'dense: One dense layer over the pixels of an image. [dense_encoder] units '
    '= 64: Width of the layer, and numbers of a token. [at least 1] act = '
    "'silu': Activation behind it. [one of 'silu', 'gelu']\n"
  ) in text
  assert max(map(len, result.out.splitlines())) <= 80
