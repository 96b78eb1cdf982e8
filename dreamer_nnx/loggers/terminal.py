"""Scalars as a compact table on the standard output."""

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamer_nnx.errors import UserError
from dreamer_nnx.loggers.values import scalars
from dreamer_nnx.slots import LOGGER

GAP = '   '


@LOGGER.register('terminal')
class TerminalLogger:
  """Prints the metrics whose names match, in aligned columns.

  Args:
    pattern: Regular expression, searched for anywhere in a name.
    width: Columns of the terminal; 0 takes those it has, 80 without one.

  Raises:
    ValueError: The pattern is no regular expression.
  """

  def __init__(
    self,
    workdir: str | Path,
    *,
    pattern: str = r'length|return|loss/|rand/|rate/|time/',
    width: int = 0,
  ):
    try:
      self._pattern = re.compile(pattern)
    except re.error as error:
      raise UserError(
        f'is no regular expression: {error}.', 'pattern', pattern
      ) from error
    self._width = width
    self._name = Path(workdir).resolve().name

  def write(self, env_steps: int, metrics: Mapping[str, Any]) -> None:
    shown = {
      name: value
      for name, value in sorted(scalars(metrics).items())
      if self._pattern.search(name)
    }
    if not shown:
      return
    # A live status line replaces the standard output while it is shown, so
    # the stream is looked up at each call.
    width = self._width or shutil.get_terminal_size((80, 24)).columns
    heading = f'{self._name}: {int(env_steps):,} env steps'
    lines = [_bold(heading), *table(shown, width - 2)]
    print('\n  '.join(lines), file=sys.stdout, flush=True)

  def close(self) -> None:
    """Does nothing: no file is held open."""


def table(values: Mapping[str, float], width: int) -> list[str]:
  """Lines of `name number` cells, filled row by row, one cell at least."""
  texts = {name: format_number(value) for name, value in values.items()}
  names = max(map(len, texts))
  numbers = max(map(len, texts.values()))
  cells = [f'{name:<{names}} {text:>{numbers}}' for name, text in texts.items()]
  per_line = max(1, (width + len(GAP)) // (names + 1 + numbers + len(GAP)))
  rows = range(0, len(cells), per_line)
  return [GAP.join(cells[i : i + per_line]).rstrip() for i in rows]


def format_number(value: float) -> str:
  """Whole numbers in full, others with four digits that count."""
  if isinstance(value, int) or (value.is_integer() and abs(value) < 1e9):
    return f'{int(value):,}'
  return f'{value:.4g}'


def _bold(text: str) -> str:
  plain = not sys.stdout.isatty() or 'NO_COLOR' in os.environ
  return text if plain else f'\033[1m{text}\033[0m'
