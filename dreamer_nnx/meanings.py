"""Meanings of a builder's arguments, read from its docstring.

They stand in its `Args:`, in Google's style:

    Args:
      units, classes: Width of each layer, and number of classes; the text
        goes on while it is indented, and counts for every name.

A class has them in its own docstring or in that of `__init__`, and inherits
them. Arguments that are passed on have those of the function that takes them.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from dreamer_nnx.schema import Builder, parameters

# The attribute with the functions that some arguments are passed on to.
PASSED_ON = 'arguments_passed_on_to'
# Names, perhaps with a type in parentheses, a colon, and text.
ENTRY = re.compile(
  r'(?P<names>\*{0,2}\w+(?:, *\*{0,2}\w+)*)(?: *\([^)]*\))?:'
  r'(?: +(?P<text>.*))?$'
)


def pass_on(outer: Callable[..., Any], inner: Callable[..., Any]) -> None:
  """Notes that a function passes arguments on, whose meanings `inner` has."""
  before = getattr(outer, PASSED_ON, ())
  setattr(outer, PASSED_ON, (*before, inner))


def entries(docstring: str | None, section: str = 'Args') -> dict[str, str]:
  """Name to meaning, of each entry in a section of a docstring.

  Args:
    docstring: As it stands in the source, with any indentation.
    section: The line that begins the section, without its colon.
  """
  result, names, indent = {}, (), 0
  for line in _section(docstring, section):
    text = line.strip()
    depth = len(line) - len(line.lstrip())
    indent = indent or depth
    match = ENTRY.match(text) if depth <= indent else None
    if match:
      names = [name.strip(' *') for name in match['names'].split(',')]
      result |= dict.fromkeys(names, match['text'] or '')
    else:
      result |= {name: f'{result[name]} {text}'.strip() for name in names}
  return result


def _section(docstring: str | None, section: str) -> Iterator[str]:
  """Lines of a section that are not empty."""
  inside = False
  for line in inspect.cleandoc(docstring or '').splitlines():
    if line and not line[0].isspace():
      inside = line.rstrip() == f'{section}:'
    elif inside and line.strip():
      yield line


def own(builder: Builder) -> dict[str, str]:
  """Name to meaning, as the docstrings of the builder itself have them."""
  if not inspect.isclass(builder):
    return entries(builder.__doc__)
  init = vars(builder).get('__init__')
  return entries(getattr(init, '__doc__', '')) | entries(builder.__doc__)


def of(builder: Builder) -> dict[str, str]:
  """Argument to meaning, of all arguments of a builder that have one.

  Those of its own docstrings come first, then those of functions that it
  passes arguments on to, then those of the classes that it inherits from.
  """
  result = {}
  for owner in builder.__mro__[:-1] if inspect.isclass(builder) else (builder,):
    inners = owner
    if inspect.isclass(owner):
      inners = vars(owner).get('__init__')
    found = [own(owner), *map(of, getattr(inners, PASSED_ON, ()))]
    for meanings in found:
      result = meanings | result
  return {name: result[name] for name in parameters(builder) if name in result}


def summary(builder: Callable[..., Any]) -> str:
  """The first line of a docstring; empty where there is none."""
  text = inspect.cleandoc(builder.__doc__ or '')
  # A dataclass without a docstring is given its signature for one.
  signature = f'{getattr(builder, "__name__", "")}('
  if dataclasses.is_dataclass(builder) and text.startswith(signature):
    return ''
  return text.partition('\n')[0]
