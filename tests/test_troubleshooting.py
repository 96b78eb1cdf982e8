"""The messages on the page of troubleshooting are those of the sources."""

import ast
import functools
import re

import pytest

from tests import pages
from tests.launcher import ROOT

PAGE = 'docs/troubleshooting.md'
TEXT = r'(?:[^*\n]\n?)+\.$'
ENTRY = re.compile(
  r'^```text\n([^\n]+)\n```\n\n'
  rf'\*\*Cause\.\*\* {TEXT}\n\n\*\*Remedy\.\*\* {TEXT}',
  re.MULTILINE,
)


def template(node: ast.AST) -> str:
  """A text of the sources, with `…` for what is put in; else empty."""
  if isinstance(node, ast.Constant) and isinstance(node.value, str):
    return node.value
  if isinstance(node, ast.JoinedStr):
    parts = [getattr(part, 'value', '') for part in node.values]
    return ''.join(x if isinstance(x, str) else '…' for x in parts)
  return ''


@functools.cache
def sources() -> str:
  """All texts of the package, one a line."""
  found = [
    template(node)
    for path in sorted((ROOT / 'dreamer_nnx').rglob('*.py'))
    for node in ast.walk(ast.parse(path.read_text('utf-8')))
  ]
  return '\n\n'.join(' '.join(x.split()) for x in found if x)


def messages() -> list[str]:
  return [x.strip() for x in pages.blocks(PAGE, 'text')]


def test_every_message_has_a_cause_and_a_remedy():
  found = ENTRY.findall(pages.text(PAGE))
  assert found == messages()
  assert len(found) > 30
  assert len(set(found)) == len(found)


@pytest.mark.parametrize('message', messages())
def test_a_message_is_one_of_the_sources(message):
  assert message in sources()


def test_a_message_that_is_gone_is_found():
  assert "must be a multiple of the … devices on the axes 'data'" in sources()
  assert (
    "must be a multiple of the 8 devices on the axes 'data'" not in sources()
  )
