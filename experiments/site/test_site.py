"""The site holds everything that can be chosen, and asks no other host."""

import html
import html.parser
import os
import re
import subprocess
import sys

import pytest

from dreamer_nnx import config as configs
from dreamer_nnx import listing
from dreamer_nnx.registry import Choice, Choices, Part
from dreamer_nnx.slots import SLOTS
from experiments.site import docstrings, generated, links, markdown

# Attributes that load something as the page is opened; `a` has to be clicked.
LOADING = ('src', 'href', 'srcset', 'data', 'poster')
REMOTE = re.compile(r'(https?:)?//')
IN_STYLE = re.compile(r'(?:url\(|@import)\s*[\'"]?(?:https?:)?//')


class Page(html.parser.HTMLParser):
  """Reads the addresses that a page loads, and the names of its anchors."""

  def __init__(self):
    super().__init__()
    self.loaded, self.anchors = [], set()

  def handle_starttag(self, tag, attrs):
    self.anchors |= {value for name, value in attrs if name == 'id'}
    if tag != 'a':
      self.loaded += [x for name, x in attrs if name in LOADING and x]


def read(text):
  page = Page()
  page.feed(text)
  return page


def read_code(text):
  """The code of a page, without marks."""
  blocks = re.findall(r'<pre.*?</pre>', text, re.DOTALL)
  return html.unescape(re.sub(r'<[^>]+>', '', '\n'.join(blocks)))


def built_in():
  """Slot and name of what the package registers."""
  return [
    (slot, entry.name)
    for slot in SLOTS
    for entry in slot.entries()
    if entry.builder.__module__.startswith('dreamer_nnx.')
  ]


@pytest.fixture(scope='module')
def site(tmp_path_factory):
  """Path to text of the pages and styles, and what the build said."""
  folder = tmp_path_factory.mktemp('site')
  command = '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(folder)
  result = subprocess.run(
    [sys.executable, *command],
    cwd=links.ROOT,
    env=os.environ | {'NO_MKDOCS_2_WARNING': '1'},
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  assert 'WARNING' not in result.stderr
  files = [x for x in folder.rglob('*') if x.suffix in ('.html', '.css')]
  return {x.relative_to(folder).as_posix(): x.read_text('utf-8') for x in files}


@pytest.mark.slow
def test_every_registered_component_is_on_the_page_of_its_slot(site):
  assert len(built_in()) > 50
  pages = {slot.name: read(site[f'slots/{slot.name}.html']) for slot in SLOTS}
  assert [
    (slot.name, name)
    for slot, name in built_in()
    if name not in pages[slot.name].anchors
  ] == []


@pytest.mark.slow
def test_every_section_of_the_config_is_on_its_page(site):
  anchors = read(site['reference/config.html']).anchors
  assert set(configs.sections()) <= anchors


@pytest.mark.slow
def test_what_is_public_is_on_the_page_of_the_api(site):
  anchors = read(site['api.html']).anchors
  names = [x for found in generated.PUBLIC.values() for x in found]
  assert set(names) <= anchors
  assert {
    'dreamer_nnx.run.Run.train',
    'dreamer_nnx.run.Run.evaluate',
  } <= anchors


@pytest.mark.slow
def test_no_page_loads_anything_from_another_host(site):
  found = {
    path: [x for x in read(text).loaded if REMOTE.match(x)]
    for path, text in site.items()
    if path.endswith('.html')
  }
  assert len(found) > 50
  assert {path: x for path, x in found.items() if x} == {}
  assert [path for path, text in site.items() if IN_STYLE.search(text)] == []


@pytest.mark.parametrize(
  'text',
  (
    '<script src="https://a.org/x.js"></script>',
    '<link rel="stylesheet" href="//fonts.a.org/css">',
    '<img alt="x" src="http://a.org/x.png">',
  ),
)
def test_what_loads_from_another_host_is_found(text):
  assert [x for x in read(text).loaded if REMOTE.match(x)]
  assert not read(text.replace('<link', '<a').replace('src', 'alt')).loaded


@pytest.mark.parametrize(
  'text', ('url(https://a.org/x)', "url('//a.org/x')", '@import "http://a.org"')
)
def test_what_a_style_loads_is_found(text):
  assert IN_STYLE.search(text)


@pytest.fixture(scope='module')
def pages():
  return generated.pages()


@pytest.mark.parametrize('slot', SLOTS, ids=lambda slot: slot.name)
def test_a_slot_has_each_field_of_its_components_as_the_list_has(pages, slot):
  text = pages[generated.page_of(slot)]
  for _, name in [x for x in built_in() if x[0] is slot]:
    part = text.partition(f'\n## {name}\n')[2].partition('\n## ')[0]
    rows = [line for line in part.splitlines() if line.startswith('| `config.')]
    fields = list(listing.fields_of(Choice(slot, name)))
    assert len(rows) == len(fields)
    for field, row in zip(fields, rows, strict=True):
      path, default, _ = listing.shown(field)
      assert f'.{name}.{path}` | ' in row
      assert f' | `{default}` | ' in row or not default
      assert row.endswith(f'{markdown.escaped(field.meaning)} |')


def test_each_section_has_its_fields(pages):
  text = pages[generated.CONFIG]
  for name, spec in configs.sections().items():
    if isinstance(spec, Part):
      for field in listing.fields_of(spec):
        assert f'| `config.{name}.{listing.shown(field)[0]}` | ' in text
    elif isinstance(spec, Choice | Choices):
      assert f'](../slots/{spec.slot.name}.md)' in text
    else:
      assert f'| `config.{name}` | ' in text


def test_the_picture_of_the_agent_has_every_slot():
  picture = (links.ROOT / 'docs/agent.svg').read_text('utf-8')
  names = re.findall(r'font-weight="bold">(\w+)</text>', picture)
  assert set(names) == {slot.name for slot in SLOTS}
  assert not REMOTE.search(picture.replace('http://www.w3.org/2000/svg', ''))


def test_text_of_a_docstring_has_equations_and_no_arguments():
  docstring = """Adds a_b to `c`.

    x = y * z
  and then <more>.

  Args:
    size: Numbers.

  Source: a book.
  """
  assert markdown.text_of(docstring) == (
    'Adds a\\_b to `c`.\n\n      x = y * z\n\nand then \\<more\\>.\n\n'
    'Source: a book.'
  )
  assert markdown.text_of(None) == ''


def test_code_in_docstrings_is_indented_and_arguments_are_not():
  text = 'Adds.\n\n  a + b\n\n  c\nText:\n  d\n\nArgs:\n  a: One.\n    Two.\n'
  assert docstrings.indented(text) == (
    'Adds.\n\n      a + b\n\n      c\nText:\n\n      d\n\nArgs:\n  a: One.\n'
    '    Two.'
  )


def test_links_lead_to_pages_and_code_stays():
  text = (
    '[a](../experiments/pods/README.md#b) [c](mesh.md) [d](#e)\n'
    '`[f](g.md)` ![h](../README.md) [i](https://j.org)\n'
    '```sh\n[k](l.md)\n```\n'
  )
  assert links.rewritten(text, 'docs/pods.md') == (
    '[a](repository/experiments/pods/README.md#b) [c](mesh.md) [d](#e)\n'
    '`[f](g.md)` ![h](index.md) [i](https://j.org)\n'
    '```sh\n[k](l.md)\n```\n'
  )
  assert links.rewritten('[a](docs/b.md)', 'README.md') == '[a](b.md)'
  found = links.rewritten('[a](c.py)', 'experiments/variants/README.md')
  assert found == '[a](c.py.md)'


def test_files_that_pages_link_to_are_pages():
  found = links.outside()
  assert found['index.md'] == 'README.md'
  assert found['repository/LICENSE.md'] == 'LICENSE'
  assert not any(path.startswith('docs/') for path in found.values())
  assert links.shown('experiments/variants/dreamsmooth.py').startswith(
    '# experiments/variants/dreamsmooth.py\n\n````python\n"""'
  )
