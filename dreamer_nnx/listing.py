"""Texts that list what can be chosen: slots, components, fields.

Nothing is built. Meanings come from the docstrings, see `meanings`.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dreamer_nnx import config as configs
from dreamer_nnx import meanings, nodes
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice, Choices, Part, Slot
from dreamer_nnx.schema import Limited, OneOf, Range, limits, suggest
from dreamer_nnx.slots import SLOTS

ALL = 'all'
UNSAID = '(no meaning in its docstring)'
HINT = (
  '--slot=NAME lists the components of a slot with all their fields, or the '
  f'fields of a section; --slot={ALL} lists everything.'
)
# Columns of names in the overview.
COLUMN = 2 + max(len(slot.name) for slot in SLOTS)


class Place(NamedTuple):
  """A field of the config that chooses components of a slot.

  Args:
    in_effect: Whether the components around it are chosen.
    names: What it chooses, if so.
  """

  path: str
  slot: Slot
  in_effect: bool
  names: str | tuple[str, ...]


class Field(NamedTuple):
  """A field of a builder or of the config, as it is listed.

  Args:
    default: A value, or a component or part.
  """

  name: str
  default: Any
  limits: tuple[Range | OneOf, ...]
  meaning: str


class Line(NamedTuple):
  """A line of text.

  Args:
    rest: Columns that it is indented by where it is wrapped.
  """

  text: str = ''
  rest: int = 0


def describe(config: ConfigDict, name: str = '', width: int = 80) -> str:
  """Lists all slots and sections, or the components and fields of one.

  Args:
    config: Its plugins are listed, too, and what it chooses is said.
    name: A slot, a section of the config, or `all`; empty for the overview.
    width: Columns of the text.

  Raises:
    UserError: No slot or section has this name.
  """
  tree, found = configs.sections(), places(config)
  if not name:
    return _text(_overview(tree, found), width)
  known = {slot.name: slot for slot in SLOTS}
  # A section that chooses components is listed as their slot.
  known |= {k: getattr(x, 'slot', k) for k, x in tree.items() if k not in known}
  if name != ALL and name not in known:
    raise UserError(
      f'there is no such slot or section.{suggest(name, [*known, ALL])} Known: '
      f'{", ".join([*known, ALL])}.',
      '--slot',
      name,
    )
  asked = dict.fromkeys(known.values()) if name == ALL else [known[name]]
  blocks = [
    _slot(x, found) if isinstance(x, Slot) else _section(x, tree[x])
    for x in asked
  ]
  return '\n\n\n'.join(_text(block, width) for block in blocks)


def makes(slot: Slot) -> str:
  """Says in one line what a slot makes."""
  return meanings.summary(slot.builds)


def of_sections() -> dict[str, str]:
  """Meanings of the sections of the config."""
  from dreamer_nnx.agent.build import build

  own = meanings.entries(configs.sections.__doc__, 'Sections')
  return own | meanings.of(build)


def where_chosen(slot: Slot, places: Iterable[Place]) -> str:
  """The path of a field that chooses of a slot, and whether there are others.

  It is one in effect, if any is, and the shortest of them.
  """
  found = [place for place in places if place.slot is slot]
  rank = lambda place: (not place.in_effect, place.path.count('.'))
  first = min(found, key=rank).path
  return f'{first} and others' if len(found) > 1 else first


def places(config: ConfigDict) -> list[Place]:
  """All fields of the tree that choose components, in effect or not."""
  tree, leaves = configs.sections(), nodes.leaves(configs.resolve(config))
  specs, every = dict(tree), configs.generate(tree, plugins=config.plugins)
  for path, call in nodes.calls(tree, every):
    specs |= {f'{path}.{name}': x for name, x in call.values().items()}
  found = {
    f'{path}.{nodes.tag_of(spec)}': spec.slot
    for path, spec in specs.items()
    if isinstance(spec, Choice | Choices)
  }
  return [
    Place(f'config.{path}', slot, path in leaves, leaves.get(path, ()))
    for path, slot in found.items()
  ]


def fields_of(call: Choice | Part, prefix: str = '') -> Iterator[Field]:
  """Fields of a call, and below each part in it, the fields of the part."""
  builder = call.builder
  said, limited = meanings.of(builder), limits(builder)
  for name, value in call.values().items():
    path = prefix + name
    yield Field(path, value, limited.get(name, ()), said.get(name, ''))
    if isinstance(value, Part):
      yield from fields_of(value, f'{path}.')


def _overview(tree: Mapping[str, Any], found: list[Place]) -> Iterator[Line]:
  yield Line('Slots, the fields that choose of them, and what is registered:')
  yield Line()
  for slot in SLOTS:
    names = ', '.join(slot.names()) or 'none is built in'
    yield Line(f'{slot.name:<{COLUMN}}{makes(slot)}', COLUMN)
    where = where_chosen(slot, found)
    yield Line(f'{"":<{COLUMN}}{where}: {names}', COLUMN + 2)
  yield Line()
  yield Line('Other sections of the config:')
  yield Line()
  said = of_sections()
  for name, spec in tree.items():
    if not isinstance(spec, Choice | Choices):
      yield Line(f'{name:<{COLUMN}}{said[name]}', COLUMN)
  yield Line()
  yield Line(HINT)


def _slot(slot: Slot, found: list[Place]) -> Iterator[Line]:
  """A slot, and what is registered there or named by the config."""
  yield Line(f'{slot.name}: {makes(slot)}', 2)
  yield Line(f'  given: {", ".join(slot.given) or "nothing"}', 4)
  here = [x for x in found if x.slot is slot and x.in_effect]
  for place in here:
    yield Line(f'  {place.path} = {place.names!r}', 4)
  if not here:
    yield Line(f'  {where_chosen(slot, found)}, not in effect', 4)
  named = [x for place in here for x in _listed(place.names) if ':' in x]
  for name in dict.fromkeys((*slot.names(), *named)):
    choice = Choice(slot, name)
    module = choice.builder.__module__
    yield Line()
    said = meanings.summary(choice.builder) or '(no docstring)'
    yield Line(f'{name}: {said} [{module}]', 4)
    yield from lines_of(fields_of(choice))


def _section(name: str, spec: Any) -> Iterator[Line]:
  """A section of the config that is no component: its fields."""
  said = of_sections()[name]
  if isinstance(spec, Part):
    yield Line(f'{name}: {said}', 2)
    yield Line()
  yield from lines_of(of_section(name, spec))


def of_section(name: str, spec: Any) -> Iterator[Field]:
  """Fields of a section of the config that is no component."""
  if isinstance(spec, Part):
    yield from fields_of(spec)
    return
  limited = isinstance(spec, Limited)
  default, ranges = (spec.default, spec.limits) if limited else (spec, ())
  yield Field(name, default, ranges, of_sections()[name])


def lines_of(fields: Iterable[Field]) -> Iterator[Line]:
  """Lines `name = default: meaning [range]`."""
  for field in fields:
    name, default, limit = shown(field)
    text = f'{name} = {default}' if default else name
    said = f'{field.meaning or UNSAID}{limit and f" [{limit}]"}'
    yield Line(f'  {text}: {said}', 6)


def shown(field: Field) -> tuple[str, str, str]:
  """Name, default and range of a field in words; empty for what it lacks."""
  name, default = field.name, field.default
  if isinstance(default, Choice | Choices):
    names = default.names if nodes.many(default) else default.name
    return f'{name}.{nodes.tag_of(default)}', repr(names), _kind(default)
  if isinstance(default, Part):
    return name, '', 'a section'
  return name, repr(default), _range(default, field.limits)


def _range(default: Any, ranges: Iterable[Range | OneOf]) -> str:
  """The values that a field may have, in words; empty for all of its type."""
  words = []
  for limit in ranges:
    several = 'each ' if isinstance(default, tuple) else ''
    words += [several + str(limit)] if str(limit) else []
    length = getattr(limit, 'length', 0)
    words += [f'{length} or more of them'] if length else []
  return ', '.join(words)


def _kind(default: Choice | Choices) -> str:
  """The slot of a component in a component, and what is set of it there."""
  kind = f'of the slot {default.slot.name}'
  if isinstance(default, Choices) or not default.differences:
    return kind
  changed = default.differences.items()
  return f'{kind}, with {", ".join(f"{k} = {x!r}" for k, x in changed)}'


def _listed(names: str | tuple[str, ...]) -> tuple[str, ...]:
  return names if isinstance(names, tuple) else (names,)


def _text(lines: Iterable[Line], width: int) -> str:
  """Joins lines, wrapped to the width."""
  return '\n'.join(
    textwrap.fill(
      line.text,
      width,
      subsequent_indent=' ' * line.rest,
      break_long_words=False,
      break_on_hyphens=False,
    )
    for line in lines
  )
