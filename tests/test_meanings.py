"""Every field of the config has a meaning, read from a docstring."""

import dataclasses
import inspect
import re

import pytest
from flax import nnx

from dreamer_nnx import config as configs
from dreamer_nnx import listing, meanings
from dreamer_nnx.envs import single
from dreamer_nnx.registry import Part, fields
from dreamer_nnx.schema import parameters
from dreamer_nnx.signatures import takes
from dreamer_nnx.slots import SLOTS
from tests.testing import parts

PACKAGE = 'dreamer_nnx.'
PAPER = re.compile(r'Source: [^:]*\(?arXiv\s+\d{4}\.\d{4,5}', re.DOTALL)
# Words that say nothing beside the name of a field.
EMPTY = {'a', 'an', 'its', 'number', 'of', 'the', 'value'}
REFERENCE = re.compile(r'(see|cf|ditto|likewise|as in|as for)\b[^.]*\.?', re.I)


def builders():
  """Every builder of the package and of the templates, with what it is given.

  Those are components, parts of the config, and parts of either.
  """
  waiting = [
    (entry.builder, slot.given)
    for slot in SLOTS
    for entry in slot.entries()
    # Other tests have components of their own.
    if entry.builder.__module__.startswith(PACKAGE)
  ]
  waiting += [(parts.component(slot.name), slot.given) for slot in SLOTS]
  waiting += parts_of(configs.sections())
  found = {}
  while waiting:
    builder, given = waiting.pop()
    if builder not in found:
      found[builder] = given
      waiting += parts_of(fields(builder, given))
  return found


def parts_of(specs):
  return [(x.builder, x.given) for x in specs.values() if isinstance(x, Part)]


def fault(name, text):
  """Says why a text is no meaning of a field; empty if it is one."""
  if not text:
    return f'{name} has no meaning'
  if REFERENCE.fullmatch(re.sub('`[^`]*`', 'x', text)):
    return f'{name} is only referred to: {text}'
  if set(re.findall('[a-z]+', text.lower())) <= EMPTY | set(name.split('_')):
    return f'{name} is only repeated: {text}'
  return ''


def rest_of(builder):
  """The name of its **kwargs, which its signature has no more after @takes."""
  function = builder.__init__ if inspect.isclass(builder) else builder
  code = getattr(function, '__code__', None)
  if not code or not code.co_flags & inspect.CO_VARKEYWORDS:
    return ''
  several = bool(code.co_flags & inspect.CO_VARARGS)
  return code.co_varnames[code.co_argcount + code.co_kwonlyargcount + several]


def faults(builder, given=None):
  """What is wrong with the meanings of a builder's arguments."""
  known, taken = meanings.of(builder), {*parameters(builder), rest_of(builder)}
  found = [fault(x, known.get(x, '')) for x in fields(builder, given)]
  stale = [x for x in meanings.own(builder) if x not in taken]
  found += [f'{x} is no argument' for x in stale]
  return [
    f'{builder.__module__}.{builder.__qualname__}: {x}' for x in found if x
  ]


def test_every_field_has_a_meaning_and_every_meaning_a_field():
  checked = builders()
  found = [
    x for builder, given in checked.items() for x in faults(builder, given)
  ]
  assert not found, '\n'.join(found)
  assert len(checked) > 60
  # Inside of a component, and of a part of one.
  names = {builder.__name__ for builder in checked}
  assert {'SlowCopy', 'Precision', 'TrainOptions', 'MLPPolicy'} <= names


def test_every_component_of_an_agent_names_its_paper():
  around = {'env', 'replay', 'logger', 'callback'}
  unnamed = [
    f'{slot.name} {entry.name}'
    for slot in SLOTS
    for entry in slot.entries()
    if slot.name not in around
    and entry.builder.__module__.startswith(PACKAGE)
    and not PAPER.search(inspect.getdoc(entry.builder) or '')
  ]
  assert not unnamed


def test_every_section_has_a_meaning():
  known = listing.of_sections()
  assert set(known) >= set(configs.sections())
  found = [fault(name, known[name]) for name in configs.sections()]
  assert not any(found), found
  own = meanings.entries(configs.sections.__doc__, 'Sections')
  assert set(own) <= set(configs.sections())


def test_every_component_and_slot_says_what_it_is():
  for slot in SLOTS:
    assert listing.makes(slot), slot
  assert [x for x in builders() if not meanings.summary(x)] == []


@pytest.mark.parametrize(
  'text',
  [
    '',
    'See `nn`.',
    'See `optax.scale_by_adam` for it.',
    'Likewise.',
    'Batch size.',
    'The size of the batch.',
  ],
)
def test_what_is_no_meaning_is_found(text):
  def builder(*, batch_size: int = 3): ...

  builder.__doc__ = f'Builds.\n\nArgs:\n  batch_size: {text}\n'
  assert len(faults(builder)) == 1


def test_an_entry_without_an_argument_is_found():
  def builder(*, size: int = 3):
    """Builds.

    Args:
      size: Numbers of the vector.
      width: Numbers of the layer.
    """

  assert faults(builder)[0].endswith('builder: width is no argument')


DOCSTRING = """Builds.

  Args of the text: not an entry.

  Args:
    plain: One line.
    long: Two lines,
      the second indented.

      After an empty one: still of it.
    a, b: Of both.
    typed (int, optional): With a type.
    *args, **kwargs: Others.
    below:
      All of it below.
    colon: `name:axis`: with colons.

  Raises:
    UserError: Not an argument.
  """


def test_sections_are_read_with_all_kinds_of_entries():
  assert meanings.entries(DOCSTRING) == {
    'plain': 'One line.',
    'long': 'Two lines, the second indented. After an empty one: still of it.',
    'a': 'Of both.',
    'b': 'Of both.',
    'typed': 'With a type.',
    'args': 'Others.',
    'kwargs': 'Others.',
    'below': 'All of it below.',
    'colon': '`name:axis`: with colons.',
  }
  assert meanings.entries(DOCSTRING, 'Raises') == {
    'UserError': 'Not an argument.'
  }


@pytest.mark.parametrize('text', [None, '', 'Builds.', 'Args: none.', 'Args:'])
def test_docstrings_without_entries_have_none(text):
  assert meanings.entries(text) == {}


class Both(nnx.Module):
  """A class.

  Args:
    of_class: In the class.
    both: In the class, too.
    gone: No argument.
  """

  def __init__(self, given, *, of_class=1, of_init=2, both=3, bare=4):
    """Begins.

    Args:
      given: By the caller.
      of_init: In the constructor.
      both: In the constructor, too.
    """


class Heir(Both):
  """Takes the constructor as it is."""


class Changed(Both):
  """Has one of its own.

  Args:
    of_init: Said anew.
  """

  def __init__(self, *, of_init=2, of_class=1): ...


def test_classes_and_their_constructors_are_read():
  said = {
    'given': 'By the caller.',
    'of_class': 'In the class.',
    'of_init': 'In the constructor.',
    'both': 'In the class, too.',
  }
  assert meanings.of(Both) == meanings.of(Heir) == said
  assert list(meanings.of(Both)) == ['given', 'of_class', 'of_init', 'both']
  changed = {'of_init': 'Said anew.', 'of_class': 'In the class.'}
  assert meanings.of(Changed) == changed
  assert meanings.own(Heir) == {}


@dataclasses.dataclass
class Record:
  """A dataclass.

  Args:
    size: Numbers.
  """

  size: int = 3


@dataclasses.dataclass
class More(Record):
  width: int = 2


def test_dataclasses_are_read_and_inherit():
  assert meanings.of(Record) == meanings.of(More) == {'size': 'Numbers.'}
  assert meanings.summary(Record) == 'A dataclass.'
  # Its signature is no docstring.
  assert meanings.summary(More) == ''


def test_arguments_that_are_taken_mean_what_they_mean_there():
  def inner(*, size=1, width=2, depth=3):
    """Inner.

    Args:
      size: Of the inner one.
      width: Of the inner one, too.
      depth: Of the inner one, as well.
    """

  @takes(inner)
  def middle(*, width=4, more=5, **rest):
    """Middle.

    Args:
      width: Of the middle.
      more: Of the middle, too.
    """

  class Outer:
    """Outer.

    Args:
      own: Of the outer one.
      rest: Passed on.
    """

    @takes(middle)
    def __init__(self, *, own=6, **rest): ...

  assert meanings.of(Outer) == {
    'own': 'Of the outer one.',
    'width': 'Of the middle.',
    'more': 'Of the middle, too.',
    'size': 'Of the inner one.',
    'depth': 'Of the inner one, as well.',
  }
  assert faults(Outer) == []


def test_what_is_named_anew_keeps_the_meaning_of_what_it_is_passed_to():
  def inner(*, lr=1.0):
    """Inner.

    Args:
      lr: Rate.
    """

  @takes(inner)
  def outer(*, lr=2.0, **rest):
    """Outer."""

  assert meanings.of(outer) == {'lr': 'Rate.'}


def test_options_of_gymnasium_environments_mean_what_they_mean_there():
  @single.with_options
  def builder(*, seed, id='', options):
    """Builds.

    Args:
      id: Of its own.
    """

  found = meanings.of(builder)
  assert found['id'] == 'Of its own.'
  assert found['time_limit'] == meanings.of(single.Options)['time_limit']
  assert faults(builder, ('seed',)) == []


def test_the_first_line_of_a_docstring_sums_it_up():
  def builder():
    """
    Builds one.

    And more.
    """

  assert meanings.summary(builder) == 'Builds one.'
  assert meanings.summary(lambda: 0) == ''
