"""The table of a check: a row for each thing that was looked at."""

import contextlib
import textwrap
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dreamer_nnx import explaining
from dreamer_nnx.envs.rules import ERROR, WARNING

__all__ = ['ERROR', 'OK', 'WARNING', 'Row', 'Table', 'amount']

OK = 'ok'
WIDTH = 80
# Columns of the level and of the name.
LEVEL, NAME = 9, 13


def amount(count: int) -> str:
  """Formats a number of bytes, in MiB or GiB."""
  if count < 2**30:
    return f'{count / 2**20:,.0f} MiB'
  return f'{count / 2**30:,.1f} GiB'


class Row(NamedTuple):
  """One thing that was looked at.

  Args:
    name: Names it, in a word.
    found: Says what was found.
    level: `ok`; `error` for what ends a run, or makes it useless; `warning`
      for what may be meant.
    remedy: Says what to do; empty where `found` says it.
  """

  name: str
  found: str
  level: str = OK
  remedy: str = ''

  def __str__(self) -> str:
    indent = ' ' * (LEVEL + NAME)
    texts = [*self.found.splitlines(), *([self.remedy] if self.remedy else [])]
    wrap = textwrap.TextWrapper(
      WIDTH - len(indent), break_long_words=False, break_on_hyphens=False
    )
    lines = [line for text in texts for line in wrap.wrap(text)]
    body = textwrap.indent('\n'.join(lines), indent)
    return f'{self.level:<{LEVEL}}{self.name:<{NAME}}{body[len(indent) :]}'


class Table:
  """Prints rows as they come, and keeps them.

  Args:
    write: Prints some lines.
  """

  def __init__(self, write: Callable[[str], None]):
    self._write = write
    self.rows: list[Row] = []

  @property
  def errors(self) -> int:
    return sum(row.level == ERROR for row in self.rows)

  def head(self, text: str) -> None:
    """Begins a group of rows."""
    self._write(text)

  def add(self, *rows: Row) -> None:
    for row in rows:
      self.rows.append(row)
      self._write(str(row))

  @contextlib.contextmanager
  def of(self, name: str) -> Iterator[None]:
    """Makes a row of an error whose message is enough; others are defects."""
    try:
      yield
    except Exception as error:
      if not explaining.expected(error):
        raise
      self.add(Row(name, explaining.explain(error), ERROR))
