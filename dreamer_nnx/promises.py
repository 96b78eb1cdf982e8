"""Checks of what a slot promises: what a product lacks, or misspells."""

import difflib
import inspect
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from dreamer_nnx.importing import contracts_note
from dreamer_nnx.notices import warn_once
from dreamer_nnx.schema import Builder, RegistryError, kind_of

# `hasattr(product, '__call__')` would find the call of a metaclass.
SPECIAL = ('__call__', '__len__', '__iter__', '__getitem__')
# Names at least so alike are taken for one name.
ALIKE = 0.85


class Promise(Protocol):
  """The side of a slot that is checked: what is passed, and what is built."""

  name: str
  given: Sequence[str]
  builds: type
  optional: Sequence[str]
  one_of: Sequence[str]


def check_given(slot: Promise, given: Collection[str], where: str) -> None:
  """Refuses a caller that does not pass all that a slot is given.

  What one builder does not need, another one that may be chosen does.

  Args:
    where: The config path of what is built.

  Raises:
    TypeError: Names are missing.
  """
  if missing := [name for name in slot.given if name not in given]:
    raise TypeError(
      f'{where}: whoever builds a component of the slot {slot.name} passes '
      f'{", ".join(slot.given)}; missing: {", ".join(missing)}.'
    )


def check_product(
  slot: Promise, product: Any, builder: Builder, where: str
) -> None:
  """Refuses what is not the slot's; warns of optional methods misspelt.

  Args:
    where: The config path and value of the component's name.

  Raises:
    RegistryError: The product lacks something.
  """
  lacks = lacking(product, slot.builds, slot.optional)
  if slot.one_of and not any(hasattr(product, name) for name in slot.one_of):
    lacks.append(f'any of {", ".join(slot.one_of)}')
  if lacks:
    raise RegistryError(
      f'{builder.__name__} built a {kind_of(product)} without '
      f'{", ".join(lacks)}, which {slot.builds.__name__} promises.'
      f'{noted(builder)}',
      where,
    )
  for name, meant in misspelt(product, slot.optional).items():
    warn_once(
      f'{where}: nothing calls {name!r} of {kind_of(product)}. Did you mean '
      f'{meant!r}?'
    )


def noted(builder: Builder) -> str:
  """The line for an error of a builder that is for other contracts."""
  note = contracts_note(builder.__module__)
  return f'\n{note}' if note else ''


def lacking(
  product: Any, promise: type, optional: Collection[str] = ()
) -> list[str]:
  """Lists what a class or Protocol names and a product lacks.

  Args:
    optional: Members that a product may lack.
  """
  if not getattr(promise, '_is_protocol', False):
    return [] if isinstance(product, promise) else [promise.__name__]
  members = set()
  for cls in promise.__mro__:
    if getattr(cls, '_is_protocol', False):
      members |= {*vars(cls), *getattr(cls, '__annotations__', {})}
  classes = type(product).__mro__
  return sorted(
    name
    for name in members - set(optional)
    if (not name.startswith('_') and not hasattr(product, name))
    or (name in SPECIAL and not any(name in vars(c) for c in classes))
  )


def misspelt(product: Any, optional: Collection[str]) -> dict[str, str]:
  """Maps methods of a product to the optional ones that are probably meant."""
  absent = [name for name in optional if not hasattr(product, name)]
  found = {}
  for name in dir(product) if absent else ():
    member = inspect.getattr_static(product, name)
    # Neither parts nor numbers of the product, whatever their names.
    method = isinstance(member, classmethod | staticmethod)
    if (
      name.startswith('_')
      or name in optional
      or not (method or inspect.isroutine(member))
    ):
      continue
    close = difflib.get_close_matches(name.lower(), absent, 1, ALIKE)
    found |= {name: close[0]} if close else {}
  return found
