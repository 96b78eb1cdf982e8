"""The documentation, taken apart: programs, commands, names, links."""

import functools
import pathlib
import re
import shlex

from tests.launcher import ROOT

PAGES = (
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'WORKSPACE.md',
  *sorted(
    str(path.relative_to(ROOT))
    for pattern in ('docs/*.md', 'experiments/**/README.md')
    for path in ROOT.glob(pattern)
  ),
)
LAUNCHER = 'python -m dreamer_nnx.main'
BLOCK = re.compile(r'^```(\w*)\n(.*?)^```$', re.DOTALL | re.MULTILINE)
_CODE = re.compile(r'`([^`\n]+)`')
_LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)\)')
_UNREAD = (
  (BLOCK, ''),
  (re.compile(r'^\|.*$|^#+ ', re.MULTILINE), ''),
  (re.compile(r'!\[[^\]]*\]\([^)\s]+\)'), ''),
  (re.compile(r'\[([^\]]*)\]\([^)\s]+\)'), r'\1'),
  (_CODE, ''),
)
_HEADING = re.compile(r'^#+ (.*)$', re.MULTILINE)
_ASSIGNMENT = re.compile(r'[A-Z_]+=')


@functools.cache
def text(page: str) -> str:
  return (ROOT / page).read_text('utf-8')


def blocks(page: str, language: str) -> list[str]:
  """The fenced blocks of one language."""
  return [code for kind, code in BLOCK.findall(text(page)) if kind == language]


def prose(page: str) -> str:
  """The page without its fenced blocks."""
  return BLOCK.sub('', text(page))


def sentences(text: str) -> str:
  """The text of a page that is read: no code, tables, images or addresses."""
  for pattern, kept in _UNREAD:
    text = pattern.sub(kept, text)
  return text


def commands(page: str) -> list[list[str]]:
  """The words of each command in shell blocks, without variables in front."""
  lines = '\n'.join(blocks(page, 'sh')).replace('\\\n', ' ').splitlines()
  found = [shlex.split(line, comments=True) for line in lines]
  for words in found:
    while words and _ASSIGNMENT.match(words[0]):
      del words[0]
  return [words for words in found if words]


def launches(page: str) -> list[list[str]]:
  """The arguments of each launch, in shell blocks and in the text."""
  start = shlex.split(LAUNCHER)
  given = [*commands(page), *map(shlex.split, code(page, f'{LAUNCHER} '))]
  count = len(start)
  return [words[count:] for words in given if words[:count] == start]


def code(page: str, start: str = '') -> list[str]:
  """Code inside the text, of those that begin so."""
  return [x for x in _CODE.findall(prose(page)) if x.startswith(start)]


def links(page: str) -> list[str]:
  """Relative links, of images too."""
  found = _LINK.findall(prose(page))
  return [x for x in found if not x.startswith(('http:', 'https:'))]


def anchors(page: str) -> set[str]:
  """The fragments that lead to the headings of a page."""
  found = [
    re.sub(r'[^\w\- ]', '', x.lower()) for x in _HEADING.findall(prose(page))
  ]
  return {x.replace(' ', '-') for x in found}


def broken(page: str, link: str) -> bool:
  """Whether a relative link of a page leads nowhere."""
  path, _, fragment = link.partition('#')
  target = (ROOT / page).parent / path if path else ROOT / page
  if not target.exists():
    return True
  if not fragment:
    return False
  return fragment not in anchors(str(target.resolve().relative_to(ROOT)))


def modules(folder: pathlib.Path) -> None:
  """Writes the modules that pages show, which begin with their file names."""
  for page in PAGES:
    for program in blocks(page, 'python'):
      name = re.match(r'# (\w+\.py)\n', program)
      if name:
        (folder / name[1]).write_text(program, 'utf-8')


def programs(page: str) -> list[str]:
  """The Python blocks that are no module."""
  return [x for x in blocks(page, 'python') if not re.match(r'# \w+\.py\n', x)]
