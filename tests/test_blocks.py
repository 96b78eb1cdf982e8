"""Each block of code of the documentation runs, or is parsed.

Commands of shell blocks are in `test_readme.py`, where the programs of
`ELSEWHERE` run, too; those need the workdir of a run.
"""

import json
import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from tests import pages
from tests.launcher import ROOT
from tests.pages import PAGES

PARSERS = {
  'json': json.loads,
  'toml': tomllib.loads,
  'yaml': yaml.safe_load,
}
CHECKED = {'python', 'sh', 'text', *PARSERS}
ELSEWHERE = ('README.md', 'docs/python.md')
# Modules are imported by name, programs run in one namespace each.
RUN = """
import importlib, json, sys
found = json.load(sys.stdin)
for name in found['modules']:
  importlib.import_module(name)
for program in found['programs']:
  exec(compile(program, 'block', 'exec'), {'__name__': 'block'})
print(len(found['modules']), len(found['programs']))
"""


def faults(text: str) -> list[str]:
  """Blocks of a page that nothing checks, or that cannot be parsed."""
  found = []
  rest = pages.BLOCK.sub('', text)
  found += re.findall(r'^ *(?:```|~~~).*$', rest, re.MULTILINE)
  for language, code in pages.BLOCK.findall(text):
    if language not in CHECKED:
      found.append(f'{language or "no language"}: {code[:40]}')
    try:
      PARSERS.get(language, str)(code)
    except (ValueError, yaml.YAMLError) as error:
      found.append(f'{language}: {error}')
  return found


@pytest.mark.parametrize('page', PAGES)
def test_blocks_are_of_a_kind_that_is_checked(page):
  assert faults(pages.text(page)) == []


@pytest.mark.parametrize('page', [x for x in PAGES if x.startswith('docs/')])
def test_manuals_have_no_code_without_a_fence(page):
  lines = pages.prose(page).splitlines()
  pairs = zip(['', *lines], lines, strict=False)
  found = [x for before, x in pairs if x.startswith('    ') and not before]
  assert found == []


@pytest.mark.parametrize(
  'text',
  (
    '```\nls\n```\n',
    '```bash\nls\n```\n',
    '- a\n  ```sh\n  ls\n  ```\n',
    '~~~sh\nls\n~~~\n',
    '```toml\na = \n```\n',
    '```yaml\na: [\n```\n',
    '```json\n{a: 1}\n```\n',
  ),
)
def test_blocks_that_nothing_checks_are_found(text):
  assert faults(text)


@pytest.mark.slow
def test_python_blocks_run(tmp_path):
  pages.modules(tmp_path)
  programs = [
    x for page in PAGES if page not in ELSEWHERE for x in pages.programs(page)
  ]
  modules = sorted(path.stem for path in tmp_path.glob('*.py'))
  asked = {'modules': modules, 'programs': programs}
  paths = os.pathsep.join((str(tmp_path), str(ROOT)))
  result = subprocess.run(
    [sys.executable, '-c', RUN],
    cwd=tmp_path,
    env=os.environ | {'PYTHONPATH': paths},
    input=json.dumps(asked),
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  assert result.stdout.split() == [str(len(modules)), str(len(programs))]
  blocks = [x for page in PAGES for x in pages.blocks(page, 'python')]
  elsewhere = [x for page in ELSEWHERE for x in pages.programs(page)]
  assert len(blocks) == len(modules) + len(programs) + len(elsewhere)
  assert len(modules) > 8 and programs
