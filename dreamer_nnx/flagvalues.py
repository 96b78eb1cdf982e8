"""The text of a flag as a value."""

import ast
from collections.abc import Iterator
from typing import Any

CLOSING = {'(': ')', '[': ']', '{': '}'}


def as_int_hint(text: str) -> str:
  """How to write an int that looks like a float."""
  try:
    value = float(text)
  except ValueError:
    return ''
  return f', write {int(value)}' if value.is_integer() else ''


def elements(text: str) -> tuple:
  """`(1, 2)`, `1,2`, `1`, `a,b`, `('a', 'b')` or `a=[1, 2],b` to a tuple."""
  text = text.strip()
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    if text[:1] in ('(', '[') and text[-1:] == CLOSING[text[0]]:
      text = text[1:-1]
    value = tuple(word for word in _words(text) if word)
  return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def literal(value: Any) -> Any:
  """A text as the Python value that it writes, or as it is."""
  try:
    return ast.literal_eval(value) if isinstance(value, str) else value
  except (ValueError, SyntaxError):
    return value


def _words(text: str) -> Iterator[str]:
  """Parts between commas that are in no brackets or quotes."""
  word, closing, quote = '', [], ''
  for letter in text:
    if quote:
      quote = '' if letter == quote else quote
    elif letter in '"\'':
      quote = letter
    elif letter in CLOSING:
      closing.append(CLOSING[letter])
    elif closing and letter == closing[-1]:
      closing.pop()
    elif letter == ',' and not closing:
      yield word.strip()
      word = ''
      continue
    word += letter
  yield word.strip()
