"""Pieces of Markdown: tables, code, and docstrings as text."""

import inspect
import re
from collections.abc import Iterable, Sequence

# Sections of a docstring that are no text.
SECTION = re.compile(r'(Args|Attributes|Raises|Returns|Yields):$')
CODE = re.compile(r'(`[^`]+`)')
SPECIAL = re.compile(r'([*_\[\]<>|#])')


def code(text: str) -> str:
  """Text as code in a line; empty stays empty."""
  return f'`{text}`' if text else ''


def escaped(text: str) -> str:
  """Plain text, of which `names` alone are marked."""
  parts = CODE.split(text)
  return ''.join(
    part if i % 2 else SPECIAL.sub(r'\\\1', part)
    for i, part in enumerate(parts)
  )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """A table; cells are Markdown in one line."""
  lines = [columns, ['---'] * len(columns), *rows]
  return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def text_of(docstring: str | None) -> str:
  """The text of a docstring: no arguments or errors; equations as code."""
  lines, inside, before = [], False, ''
  for line in inspect.cleandoc(docstring or '').splitlines():
    indented = line[:1].isspace()
    if line.strip() and not indented:
      inside = bool(SECTION.match(line))
    if inside:
      continue
    if line.strip() and before and indented != before[:1].isspace():
      lines.append('')
    lines.append(f'    {line}' if indented else escaped(line))
    before = line
  return '\n'.join(lines).strip('\n')
