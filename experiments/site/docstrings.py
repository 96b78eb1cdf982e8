"""Docstrings of the API: what is indented in their text is code."""

from typing import Any

import griffe

from experiments.site.markdown import SECTION


class CodeIsIndented(griffe.Extension):
  """Indents code in docstrings as Markdown asks for; two spaces are few."""

  def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
    """Rewrites the docstring of an object that is being read."""
    if obj.docstring:
      obj.docstring.value = indented(obj.docstring.value)


def indented(docstring: str) -> str:
  """The docstring with code four spaces deeper, but for its sections."""
  lines, inside, before = [], False, ''
  for line in docstring.splitlines():
    deep = line[:1].isspace()
    if line.strip() and not deep:
      inside = bool(SECTION.match(line))
    if deep and not inside:
      # Between a paragraph and code there is an empty line.
      lines += [''] if before and not before[:1].isspace() else []
      line = f'    {line}' if line.strip() else line
    lines.append(line)
    before = line.strip() and line
  return '\n'.join(lines)
