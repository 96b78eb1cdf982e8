import importlib
import pickle
import sys
import traceback
from pathlib import Path
from typing import Protocol, runtime_checkable

import pytest

from dreamer_nnx import slots
from dreamer_nnx.errors import UserError
from dreamer_nnx.notices import WARNED as NOTICES
from dreamer_nnx.registry import (
  Choice,
  Choices,
  Part,
  RegistryError,
  Slot,
  branch,
)
from tests import toys
from tests.toys import ENCODER, HEAD, LOGGER

NOTE = (
  '{} does not say by DREAMER_NNX_CONTRACTS which contracts it is for; here '
  'they are of version 2. CHANGELOG.md and docs/plugins.md say what changed.'
)


def slot(given=('size',), builds=object):
  return Slot('encoder', home='tests.toys', given=given, builds=builds)


def location(name):
  """Where tests/toys.py registers an encoder."""
  lines = Path(toys.__file__).read_text('utf-8').splitlines()
  return f'tests.toys:{lines.index(f"@ENCODER.register({name!r})") + 1}'


def refusal(function, *args, **kwargs):
  with pytest.raises(RegistryError) as error:
    function(*args, **kwargs)
  return str(error.value)


# Registration.


def test_registration_refuses_what_is_no_schema():
  error = refusal(slot().register('mine'), no_default)
  assert error == (
    f'{__name__}.no_default: argument depth is not given to this slot and has '
    'no default; give it one, or take one of: size.\n' + NOTE.format(__name__)
  )


def no_default(size, *, depth): ...


def test_a_second_builder_of_a_name_is_refused():
  error = refusal(ENCODER.register('simple'), toys.ResnetEncoder)
  assert error == (
    f"encoder 'simple' is registered twice: {location('simple')} and "
    f'{location("resnet")}. Rename one.'
  )
  assert ENCODER.builder('simple') is toys.SimpleEncoder


AGAIN = slot()
LATE = Slot('late', home='home_of_late', given=('size',), builds=int)


def test_a_module_that_is_executed_again_replaces_its_own_entries(
  tmp_path, monkeypatch
):
  text = (
    'from tests.test_registry import AGAIN\n\n'
    "@AGAIN.register('mine')\n"
    'def mine(size, *, depth=1): ...\n'
  )
  (tmp_path / 'executed_again.py').write_text(text, encoding='utf-8')
  monkeypatch.syspath_prepend(tmp_path)
  module = importlib.import_module('executed_again')
  first = module.mine
  importlib.reload(module)
  assert AGAIN.builder('mine') is module.mine
  assert module.mine is not first


@pytest.mark.parametrize('name', ['a-b', 'name', 'names', '3d', ''])
def test_names_are_keys_of_a_config(name):
  error = refusal(slot().register(name), toys.plain)
  assert error == (
    f"encoder {name!r}: a name is a Python identifier other than 'name' and "
    "'names'."
  )


# Lookup.


def test_a_lookup_imports_the_home_of_the_slot(tmp_path, monkeypatch):
  (tmp_path / 'home_of_late.py').write_text(
    'from tests.test_registry import LATE\n'
    "LATE.register('late')(lambda size: size)\n",
    encoding='utf-8',
  )
  monkeypatch.syspath_prepend(tmp_path)
  assert 'home_of_late' not in sys.modules
  assert LATE.names() == ('late',)
  assert Choice(LATE, 'late')(size=4) == 4


def test_names_are_sorted_and_entries_know_their_place():
  assert ENCODER.names() == ('broken', 'resnet', 'simple', 'stacked')
  places = {entry.name: entry.location for entry in ENCODER.entries()}
  assert places['resnet'] == location('resnet')


def test_an_unknown_name_is_answered_with_the_nearest_and_all_others():
  assert refusal(Choice(ENCODER, 'simpel'), size=2) == (
    "config.encoder.name = 'simpel': no encoder has this name. Did you mean "
    "'simple'?\n"
    f"Registered: 'broken' ({location('broken')}), "
    f"'resnet' ({location('resnet')}), "
    f"'simple' ({location('simple')}), "
    f"'stacked' ({location('stacked')}).\n"
    'If it is yours, name its module in config.plugins.'
  )


def test_a_component_may_be_named_by_its_module():
  choice = Choice(ENCODER, 'tests.toys:Unregistered', depth=3)
  assert choice(size=2, scale=1)(5) == 15
  assert choice.path == 'config.encoder.Unregistered'


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('nowhere.near:X', "there is no module 'nowhere' to import."),
    ('tests.near:X', "there is no module 'tests.near' to import."),
    (':X', "'' is not the name of a module."),
    ('..near:X', "'..near' is not the name of a module."),
    (
      'tests.toys:Unregisterd',
      "module 'tests.toys' has no 'Unregisterd'. Did you mean 'Unregistered'?",
    ),
    ('tests.toys:TREE', 'it is a dict, not a builder.'),
  ],
)
def test_what_a_module_name_lacks_is_said(name, message):
  assert refusal(Choice(ENCODER, name), size=2) == (
    f'config.encoder.name = {name!r}: {message}'
  )


FAULTS = {
  'syntax': ('def f(:', SyntaxError),
  'import': ('import not_installed', ModuleNotFoundError),
  'raise': ('raise KeyError(3)', KeyError),
  'file': ("open('nowhere')", ImportError),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_a_fault_in_a_named_module_keeps_its_traceback(
  fault, tmp_path, monkeypatch
):
  text, kind = FAULTS[fault]
  (tmp_path / f'faulty_{fault}.py').write_text(text, 'utf-8')
  monkeypatch.syspath_prepend(tmp_path)
  name = f'faulty_{fault}:Mine'
  with pytest.raises(kind) as error:
    Choice(ENCODER, name).values()
  assert not isinstance(error.value, UserError)
  shown = ''.join(traceback.format_exception(error.value))
  assert f"named by config.encoder.name = '{name}'" in shown
  assert f'faulty_{fault}.py' in shown


def test_a_branch_is_named_by_the_attribute():
  assert branch('simple') == 'simple'
  assert branch('my.module:Net') == 'Net'
  assert branch('my.module:Net.small') == 'Net_small'


# Deferred calls.


def test_a_choice_builds_with_its_differences_and_what_is_named_of_the_given():
  simple = Choice(ENCODER, 'simple', depth=5, rate=2, mults=[7])
  built = simple(size=3, scale=2)
  assert built.fields == (5, 3, 2.0, (7,), 'silu', True)
  assert type(built.fields[2]) is float
  assert built.token_size == 3 * 5 * 2
  assert Choice(ENCODER, 'resnet', units=3)(size=9, scale=1).token_size == 6


def test_nested_calls_reach_the_builder_with_their_differences():
  built = Choice(ENCODER, 'simple')(size=4, scale=1)
  assert built.head == toys.Scaled(4, outscale=0.5)
  head = Choice(HEAD, 'scaled', bins=(1,))
  built = Choice(ENCODER, 'simple', head=head)(size=4, scale=1)
  assert built.head == toys.Scaled(4, bins=(1,))


def test_nested_calls_know_their_path():
  values = Choice(ENCODER, 'simple').at('config.eyes').values()
  assert values['head'].where == 'config.eyes.simple.head'
  values = Part(toys.Predictor).at('config.policy').values()
  assert values['head'].path == 'config.policy.head.plain'


def test_replace_leaves_the_original():
  first = Choice(ENCODER, 'simple', depth=5).at('config.eyes')
  second = first.replace(depth=6, kernel=1)
  assert first.differences == {'depth': 5}
  assert second.differences == {'depth': 6, 'kernel': 1}
  assert second.where == 'config.eyes'


@pytest.mark.parametrize(
  'call',
  [
    Choice(ENCODER, 'simple', depth=5),
    Part(toys.Train, lr=0.5),
    Choices(LOGGER, ('jsonl', Choice(LOGGER, 'terminal', prefix='# '))),
  ],
)
def test_deferred_calls_are_values(call):
  assert call.at('config.elsewhere') == call
  assert len({call, call.at('config.elsewhere')}) == 1


def test_deferred_calls_are_frozen():
  with pytest.raises(AttributeError):
    Part(toys.Train).where = 'x'


def test_a_part_travels_between_processes():
  part = Part(toys.Train, lr=0.5)
  assert pickle.loads(pickle.dumps(part))() == toys.Train(lr=0.5)


def test_choices_build_in_their_order():
  loggers = Choices(LOGGER, ('jsonl', Choice(LOGGER, 'terminal', prefix='# ')))
  assert loggers(workdir='runs') == ('runs/metrics.jsonl', '# ')
  assert [c.where for c in loggers.at('config.out')] == ['config.out'] * 2


def test_choices_take_a_name_once():
  assert refusal(Choices, LOGGER, ('jsonl', 'jsonl')) == (
    "logger ('jsonl', 'jsonl'): a name comes twice."
  )


def test_an_error_of_one_of_several_names_their_field():
  several = Choices(ENCODER, ('broken',)).at('config.eyes')
  assert refusal(several, size=2, scale=1).startswith(
    "config.eyes.names = 'broken': BrokenEncoder built a BrokenEncoder without"
  )
  assert refusal(Choices(ENCODER, ('simpel',)), size=2, scale=1).startswith(
    "config.encoder.names = 'simpel': no encoder has this name."
  )


# What is wrong with a call is said with its path.

BOTH = {'size': 2, 'scale': 1}
GIVEN = (
  'whoever builds a component of the slot encoder passes size, scale; missing:'
)


@pytest.mark.parametrize(
  ('differences', 'message'),
  [
    (
      {'kernal': 5},
      ".kernal: SimpleEncoder has no such field. Did you mean 'kernel'?",
    ),
    ({'wings': 5}, '.wings: SimpleEncoder has no such field.'),
    ({'size': 5}, '.size: SimpleEncoder has no such field.'),
    ({'depth': 4.5}, '.depth = 4.5: must be an int.'),
    ({'depth': True}, '.depth = True: must be an int.'),
    ({'rate': 'fast'}, ".rate = 'fast': must be a float."),
    ({'rate': True}, '.rate = True: must be a float.'),
    ({'bias': 1}, '.bias = 1: must be a bool.'),
    ({'act': 3}, '.act = 3: must be a str.'),
    ({'mults': 3}, '.mults = 3: must be a tuple.'),
    ({'mults': (1, 2.5)}, '.mults[1] = 2.5: must be an int.'),
    ({'head': 'plain'}, ".head = 'plain': must be a Choice of the slot head."),
  ],
)
def test_fields_and_their_types_are_checked(differences, message):
  call = Choice(ENCODER, 'simple', **differences).at('config.eyes')
  assert refusal(call, size=2) == f'config.eyes.simple{message}'


def test_a_choice_of_another_slot_is_refused():
  logger = Choice(LOGGER, 'jsonl')
  assert refusal(Choice(ENCODER, 'simple', head=logger), size=2) == (
    f'config.encoder.simple.head = {logger!r}: must be a Choice of the slot '
    'head.'
  )


def test_the_product_must_keep_the_promise_of_its_slot():
  assert refusal(Choice(ENCODER, 'broken'), size=2, scale=1) == (
    "config.encoder.name = 'broken': BrokenEncoder built a BrokenEncoder "
    'without __call__, token_size, which Encoder promises.\n'
    + NOTE.format('tests.toys')
  )


class Minded:
  """A product with optional methods, some of them misspelt."""

  def act(self): ...

  def Afterupdate(self): ...

  @staticmethod
  def rewards(): ...

  restores = 3

  def _state(self): ...


@runtime_checkable
class Acting(Protocol):
  def act(self): ...
  def state(self): ...


def minded(optional, one_of=()):
  made = Slot(
    'minded',
    home='tests.toys',
    given=(),
    builds=Acting,
    optional=optional,
    one_of=one_of,
  )
  made.register('mine')(Minded)
  return Choice(made, 'mine')


def test_an_optional_member_may_be_missing(caplog):
  assert 'without state, which' in refusal(minded(()))
  minded(('state', 'learn'))()
  assert not caplog.text


def test_a_method_like_an_optional_one_is_warned_about_once(caplog):
  NOTICES.clear()
  for _ in range(2):
    minded(('state', 'restore', 'reward', 'after_update'))()
  assert [record.message for record in caplog.records] == [
    "config.minded.name = 'mine': nothing calls 'Afterupdate' of Minded. Did "
    "you mean 'after_update'?",
    "config.minded.name = 'mine': nothing calls 'rewards' of Minded. Did you "
    "mean 'reward'?",
  ]


def test_of_some_optional_members_one_is_needed():
  names = ('state', 'rewards', 'learn')
  assert minded(names, ('rewards', 'learn'))()
  assert 'built a Minded without any of learn, step, which' in refusal(
    minded(('state', 'learn', 'step'), ('learn', 'step'))
  )


OPTIONAL = {
  'behavior': ('after_update',),
  'objective': ('reward', 'mask', 'after_update'),
  'optimizer': ('check_names',),
  'weighting': ('metrics',),
  'selector': ('update', 'state', 'restore'),
  'callback': ('stepped', 'updated', 'state', 'restore'),
}


def test_slots_name_their_optional_members():
  found = {slot.name: slot.optional for slot in slots.SLOTS if slot.optional}
  assert found == OPTIONAL
  for kind in slots.SLOTS:
    # Described where the others are declared, so that none is asked for.
    assert not set(kind.optional) & set(dir(kind.builds))
    assert all(f'`{name}(' in kind.builds.__doc__ for name in kind.optional)
  assert slots.CALLBACK.one_of == ('stepped', 'updated')


def test_a_callback_does_something():
  names = 'tests.test_registry:Idle', 'tests.test_registry:Busy'
  idle, busy = (Choice(slots.CALLBACK, name) for name in names)
  assert 'without any of stepped, updated, which Callback' in refusal(idle)
  assert isinstance(busy(), Busy)


class Idle:
  def state(self): ...


class Busy:
  def updated(self, trainer, metrics): ...


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    ({}, f'{GIVEN} size, scale.'),
    ({'size': 2}, f'{GIVEN} scale.'),
    ({'colour': 2, 'scale': 1}, f'{GIVEN} size.'),
    ({**BOTH, 'colour': 3}, '{} is not given colour.'),
    ({**BOTH, 'depth': 3}, '{} is not given depth.'),
  ],
)
@pytest.mark.parametrize('name', ['Named', 'Nameless'])
def test_the_caller_passes_all_that_the_slot_is_given(given, message, name):
  # Whatever the builder that is chosen names of it.
  with pytest.raises(TypeError) as error:
    Choice(ENCODER, f'tests.test_registry:{name}')(**given)
  assert str(error.value) == f'config.encoder: {message.format(name)}'


class Named:
  def __init__(self, size, scale, *, units=1): ...


class Nameless:
  def __init__(self, *, units=1): ...


class Stingy:
  """Passes less to a part of its own than that slot is given."""

  def __init__(self, size, *, part: Choice = Choice(ENCODER, 'resnet')):
    part(size=size)


def test_an_owner_passes_all_that_a_nested_slot_is_given():
  # Though what it has chosen needs nothing.
  owner = Choice(HEAD, 'tests.test_registry:Stingy')
  with pytest.raises(TypeError) as error:
    owner(size=2)
  assert str(error.value) == (f'config.head.Stingy.part: {GIVEN} scale.')
  notes = ''.join(error.value.__notes__)
  assert 'while building config.head.Stingy' in notes


@pytest.mark.parametrize('names', [(), ('terminal',)])
def test_choices_are_passed_all_of_it_even_if_there_are_none(names):
  loggers = Choices(LOGGER, names).at('config.out')
  with pytest.raises(TypeError) as error:
    loggers()
  assert str(error.value).startswith('config.out: whoever builds a component')
  assert str(error.value).endswith('; missing: workdir.')


def test_an_error_of_a_builder_gets_the_path_of_its_config_once():
  head = Choice(HEAD, 'scaled', outscale=-1)
  with pytest.raises(ValueError) as error:
    Choice(ENCODER, 'simple', head=head)(size=2, scale=1)
  assert str(error.value) == (
    'config.encoder.simple.head.scaled.outscale = -1.0: must not be negative.'
  )
