"""Names to builders, and calls that wait for what they are given.

A `Slot` holds the builders of one kind of component by name. `Choice` (a
component by name) and `Part` (one fixed builder) are deferred calls: they
hold the fields that differ from the defaults, check them, and build.
"""

import copy
import dataclasses
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from dreamer_nnx import promises, sizes
from dreamer_nnx.errors import UserError
from dreamer_nnx.importing import contracts_note, load
from dreamer_nnx.schema import (
  Builder,
  Deferred,
  RegistryError,
  cast,
  check,
  fields,
  kind_of,
  limits,
  parameters,
  pick,
  suggest,
)

__all__ = [
  'Choice',
  'Choices',
  'Entry',
  'Part',
  'RegistryError',
  'Slot',
  'branch',
  'cast',
  'fields',
  'pick',
  'suggest',
]


@dataclasses.dataclass(frozen=True)
class Entry:
  """One registered builder."""

  name: str
  builder: Builder

  @property
  def identity(self) -> tuple[str, str]:
    return self.builder.__module__, self.builder.__qualname__

  @property
  def location(self) -> str:
    """`module:line`, or the module alone where the source is not at hand."""
    module = self.builder.__module__
    try:
      return f'{module}:{inspect.getsourcelines(self.builder)[1]}'
    except (OSError, TypeError):
      return module


class Slot:
  """One kind of component and its registered builders.

  Args:
    home: The package that lists the built-ins; a lookup imports it.
    given: Arguments that whoever builds a component passes, all of them;
      builders take those that they name.
    builds: The class or runtime-checkable Protocol of every product.
    optional: Methods that a product may have, beside those of `builds`.
    one_of: The optional methods of which it has at least one.
  """

  def __init__(
    self,
    name: str,
    *,
    home: str,
    given: Iterable[str],
    builds: type,
    optional: Iterable[str] = (),
    one_of: Iterable[str] = (),
  ):
    self.name = name
    self.home = home
    self.given = tuple(given)
    self.builds = builds
    self.optional = tuple(optional)
    self.one_of = tuple(one_of)
    self._entries: dict[str, Entry] = {}

  def __repr__(self) -> str:
    return self.name.upper()

  def register(self, name: str) -> Callable[[Builder], Builder]:
    """Decorates a class or function that builds this slot's product.

    Raises:
      RegistryError: The name is taken, or the signature is no schema.
    """

    def add(builder: Builder) -> Builder:
      if not name.isidentifier() or name in ('name', 'names'):
        raise RegistryError(
          f'{self.name} {name!r}: a name is a Python identifier other than '
          "'name' and 'names'."
        )
      self._check(builder)
      entry, old = Entry(name, builder), self._entries.get(name)
      # A module that is executed again (reloaded, or run as a script) brings
      # its own entries anew.
      if old and old.identity != entry.identity:
        raise RegistryError(
          f'{self.name} {name!r} is registered twice: {old.location} and '
          f'{entry.location}. Rename one.'
        )
      self._entries[name] = entry
      return builder

    return add

  def _check(self, builder: Builder) -> None:
    """Refuses a builder whose signature is no schema."""
    try:
      fields(builder, self.given)
      sizes.check(builder)
    except RegistryError as error:
      error.what += promises.noted(builder)
      raise

  def entries(self) -> tuple[Entry, ...]:
    """Every registered builder, by name, built-ins included."""
    importlib.import_module(self.home)
    return tuple(self._entries[name] for name in sorted(self._entries))

  def names(self) -> tuple[str, ...]:
    return tuple(entry.name for entry in self.entries())

  def builder(self, name: str, where: str = '') -> Builder:
    """Finds a registered name, or imports `package.module:attribute`.

    Args:
      where: The config path of the name.
    """
    where = where or f'config.{self.name}.name'
    entries = {entry.name: entry for entry in self.entries()}
    if name in entries:
      return entries[name].builder
    if ':' in str(name):
      builder = _attribute(name, where)
      self._check(builder)
      return builder
    known = ', '.join(f'{n!r} ({e.location})' for n, e in entries.items())
    raise RegistryError(
      f'no {self.name} has this name.{suggest(name, entries)}\n'
      f'Registered: {known or "none"}.\n'
      'If it is yours, name its module in config.plugins.',
      where,
      name,
    )


def _attribute(name: str, where: str) -> Builder:
  module_name, _, attribute = name.partition(':')
  found = load(module_name, where, name)
  for part in attribute.split('.'):
    if not hasattr(found, part):
      raise RegistryError(
        f'module {module_name!r} has no {attribute!r}.'
        f'{suggest(part, dir(found))}',
        where,
        name,
      )
    found = getattr(found, part)
  if not callable(found):
    text = f'it is a {kind_of(found)}, not a builder.'
    raise RegistryError(text, where, name)
  return found


# What initial parameters are drawn from.
RNGS = 'rngs'


class _Call(Deferred):
  """A builder and the fields in which its call differs from the defaults."""

  def values(self) -> dict[str, Any]:
    """Every field with its value, checked; nested calls know their path.

    Raises:
      RegistryError: The builder has no such field, or of another type.
    """
    defaults = fields(self.builder, self.given)
    for name in self.differences:
      if name not in defaults:
        raise RegistryError(
          f'{self.path}.{name}: {self.builder.__name__} has no such field.'
          f'{suggest(name, defaults)}'
        )
    result, limited = {}, limits(self.builder)
    for name, default in defaults.items():
      path = f'{self.path}.{name}'
      value = cast(self.differences.get(name, default), default, path)
      # A default is the builder's own word.
      if value != default:
        check(value, limited.get(name, ()), default, path)
      deferred = isinstance(value, Deferred)
      result[name] = value.at(path) if deferred else value
    return result

  def replace(self, /, **differences: Any) -> Self:
    return self._copy(differences={**self.differences, **differences})

  def at(self, where: str) -> Self:
    return self._copy(where=where)

  def _check_given(self, given: Mapping[str, Any]) -> None:
    """Refuses a call without all that the caller has to pass."""

  def _copy(self, **changes: Any) -> Self:
    result = copy.copy(self)
    for name, value in changes.items():
      object.__setattr__(result, name, value)
    return result

  def __call__(self, **given: Any) -> Any:
    builder, values = self.builder, self.values()
    named = parameters(builder)
    self._check_given(given)
    unknown = [n for n in given if n in values] or [
      n for n in given if self.given is not None and n not in self.given
    ]
    if unknown:
      raise TypeError(
        f'{self.where}: {builder.__name__} is not given {", ".join(unknown)}.'
      )
    arguments = values | {n: v for n, v in given.items() if n in named}
    missing = [
      n for n, p in named.items() if p.default is p.empty and n not in arguments
    ]
    if missing:
      raise TypeError(
        f'{self.where}: {builder.__name__} needs {", ".join(missing)}.'
      )
    if RNGS in given and RNGS in named:
      # Imported here so that reading a config loads no JAX.
      from dreamer_nnx import streams

      arguments[RNGS] = streams.rngs_at(given[RNGS], self.path)
    try:
      return builder(**arguments)
    except UserError as error:
      error.within(self.path)
      raise
    except Exception as error:
      place = Entry(self.path, builder).location
      error.add_note(f'while building {self.path} ({place})')
      if note := contracts_note(builder.__module__):
        error.add_note(note)
      raise


@dataclasses.dataclass(frozen=True, init=False)
class Choice(_Call):
  """A component of a slot, by name, waiting for what its slot is given.

  Called with those arguments by keyword it builds the component and checks
  that it can do what its slot promises. `where` is its config path.
  """

  slot: Slot
  name: str
  differences: Mapping[str, Any] = dataclasses.field(hash=False)
  where: str = dataclasses.field(compare=False)
  # The field of the config node that names it.
  tag = 'name'

  def __init__(self, slot: Slot, name: str, /, **differences: Any):
    object.__setattr__(self, 'slot', slot)
    object.__setattr__(self, 'name', name)
    object.__setattr__(self, 'differences', differences)
    object.__setattr__(self, 'where', f'config.{slot.name}')

  @property
  def given(self) -> tuple[str, ...]:
    return self.slot.given

  @property
  def builder(self) -> Builder:
    return self.slot.builder(self.name, f'{self.where}.{self.tag}')

  @property
  def kind(self) -> str:
    return f'a Choice of the slot {self.slot.name}'

  def accepts(self, value: Any) -> bool:
    return isinstance(value, Choice) and value.slot is self.slot

  @property
  def branch(self) -> str:
    """The key of its fields in the config node."""
    return branch(self.name)

  @property
  def path(self) -> str:
    return f'{self.where}.{self.branch}'

  def __call__(self, **given: Any) -> Any:
    product = super().__call__(**given)
    where = f'{self.where}.{self.tag} = {self.name!r}'
    promises.check_product(self.slot, product, self.builder, where)
    return product

  def _check_given(self, given: Mapping[str, Any]) -> None:
    promises.check_given(self.slot, given, self.where)


def branch(name: str) -> str:
  """`simple` for itself, `Mine` for `package.module:Mine`."""
  return name.rpartition(':')[2].replace('.', '_')


@dataclasses.dataclass(frozen=True, init=False)
class Part(_Call):
  """A call of one fixed builder, waiting for its arguments without defaults."""

  builder: Builder
  differences: Mapping[str, Any] = dataclasses.field(hash=False)
  where: str = dataclasses.field(compare=False)
  given = None

  def __init__(self, builder: Builder, /, **differences: Any):
    object.__setattr__(self, 'builder', builder)
    object.__setattr__(self, 'differences', differences)
    object.__setattr__(self, 'where', f'config.{builder.__name__}')

  @property
  def kind(self) -> str:
    return f'a Part of {self.builder.__name__}'

  def accepts(self, value: Any) -> bool:
    return isinstance(value, Part) and value.builder is self.builder

  @property
  def path(self) -> str:
    return self.where


class Choices(tuple, Deferred):
  """Several components of one slot, at most one of each name.

  Args:
    choices: Names, or choices of the slot.

  Raises:
    RegistryError: A name comes twice.
  """

  slot: Slot
  where: str

  def __new__(cls, slot: Slot, choices: Iterable['str | Choice'] = ()) -> Self:
    items = [Choice(slot, c) if isinstance(c, str) else c for c in choices]
    result = super().__new__(cls, [c._copy(tag='names') for c in items])
    result.slot = slot
    result.where = f'config.{slot.name}'
    if len(set(result.names)) < len(items):
      raise RegistryError(f'{slot.name} {result.names}: a name comes twice.')
    return result

  def __getnewargs__(self) -> tuple[Slot, tuple[Choice, ...]]:
    return self.slot, tuple(self)

  @property
  def names(self) -> tuple[str, ...]:
    return tuple(choice.name for choice in self)

  @property
  def kind(self) -> str:
    return f'Choices of the slot {self.slot.name}'

  def accepts(self, value: Any) -> bool:
    return isinstance(value, Choices) and value.slot is self.slot

  def at(self, where: str) -> Self:
    result = Choices(self.slot, [choice.at(where) for choice in self])
    result.where = where
    return result

  def __call__(self, **given: Any) -> tuple[Any, ...]:
    promises.check_given(self.slot, given, self.where)
    return tuple(choice(**given) for choice in self)
