"""The text of a flag as a value."""

import ast
from collections.abc import Iterator
from typing import Any


def as_int_hint(text: str) -> str:
  """Suggests the int to write for text that looks like a float."""
  try:
    value = float(text)
  except ValueError:
    return ''
  return f', write {int(value)}' if value.is_integer() else ''


def elements(text: str) -> tuple:
  """Parses `(1, 2)`, `1,2`, `1`, `a,b`, `('a', 'b')` or `a=[1, 2],b=3`."""
  text = text.strip()
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    words = list(split(text))
    if len(words) == 1 and text[:1] + text[-1:] in ('()', '[]'):
      words = list(split(text[1:-1]))
    value = tuple(map(_unquoted, filter(None, words)))
  return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def split(text: str) -> Iterator[str]:
  """Splits text at the commas outside brackets and quotes."""
  depth, quote, start = 0, '', 0
  for place, letter in enumerate(text):
    if quote:
      quote = '' if letter == quote else quote
    elif letter in '"\'':
      quote = letter
    elif letter in '([{':
      depth += 1
    elif letter in ')]}':
      depth -= 1
    elif letter == ',' and not depth:
      yield text[start:place].strip()
      start = place + 1
  yield text[start:].strip()


def _unquoted(word: str) -> str:
  quoted = len(word) > 1 and word[0] == word[-1] and word[0] in '"\''
  return word[1:-1] if quoted else word


def literal(value: Any) -> Any:
  """Parses a text as a Python literal, or returns it as it is."""
  try:
    return ast.literal_eval(value) if isinstance(value, str) else value
  except (ValueError, SyntaxError):
    return value
