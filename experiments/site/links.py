"""Links between files of the repository, as links between pages of the site.

The pages of `docs/` are the site. `README.md` is its first page, and any other
file that a page links to is a page below `repository/`: Markdown as it is, and
other texts as a block of code. So links are written for the repository, where
they work on disk, too, and are rewritten when the site is built.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME, DOCS, OUTSIDE = 'README.md', 'docs/', 'repository/'
EXPERIMENTS = 'experiments/README.md'
# Code, in which nothing is a link; and the target of a link or image.
LINK = re.compile(
  r'^(?P<fence>```+).*?^(?P=fence)$|`[^`\n]+`|\]\((?P<target>[^)\s]+)\)',
  re.DOTALL | re.MULTILINE,
)
ELSEWHERE = re.compile(r'[a-z]+:|#')


def page_of(path: str) -> str:
  """The path in the site of a file of the repository."""
  if path == HOME:
    return 'index.md'
  if path.startswith(DOCS):
    return path.removeprefix(DOCS)
  return OUTSIDE + path + '.md' * (not path.endswith('.md'))


def outside() -> dict[str, str]:
  """Page to file, of all files outside of `docs/` that pages lead to."""
  found, seen = {}, set()
  manuals = [f'{DOCS}{file.name}' for file in (ROOT / DOCS).glob('*.md')]
  waiting = [HOME, EXPERIMENTS, *manuals]
  while waiting:
    path = waiting.pop()
    if path in seen or not (ROOT / path).is_file():
      continue
    seen.add(path)
    if path.endswith('.md'):
      text = (ROOT / path).read_text('utf-8')
      waiting += [target for target, _ in targets(text, path)]
    if not path.startswith(DOCS):
      found[page_of(path)] = path
  return found


def targets(text: str, source: str) -> Iterator[tuple[str, str]]:
  """File and fragment of each relative link of a file of the repository."""
  for match in LINK.finditer(text):
    if match['target'] and not ELSEWHERE.match(match['target']):
      path, _, fragment = match['target'].partition('#')
      yield resolved(path, source), fragment


def resolved(path: str, source: str) -> str:
  """The file of the repository that a link of another one leads to."""
  return posixpath.normpath(posixpath.join(posixpath.dirname(source), path))


def rewritten(text: str, source: str) -> str:
  """The Markdown of a file of the repository with links for the site."""
  folder = posixpath.dirname(page_of(source))

  def replaced(match: re.Match[str]) -> str:
    if not match['target'] or ELSEWHERE.match(match['target']):
      return match[0]
    path, *fragment = match['target'].split('#')
    page = page_of(resolved(path, source))
    return f']({"#".join([posixpath.relpath(page, folder or "."), *fragment])})'

  return LINK.sub(replaced, text)


def shown(path: str) -> str:
  """The Markdown of a page with the text of a file that is none."""
  text = (ROOT / path).read_text('utf-8').rstrip('\n')
  language = Path(path).suffix.removeprefix('.').replace('py', 'python')
  return f'# {path}\n\n````{language}\n{text}\n````\n'
