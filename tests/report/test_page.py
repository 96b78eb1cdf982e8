"""The page: complete in itself, and nothing of a run is HTML in it."""

import html.parser
import json
import re
import time

import numpy as np
import pytest

from dreamer_nnx.report import groups, runs, writing
from dreamer_nnx.report.sections import Chart, Section, Series
from tests.report import made

EVIL = '<img src=x onerror=alert(1)>"\'</script><script>alert(2)</script>$$x$$'
# What has an address without loading anything from it.
NAMES = re.compile(r'http://www\.w3\.org/|https://(bokeh|docs\.bokeh)\.org')


class Parsed(html.parser.HTMLParser):
  """Tags with attributes, and the text of scripts that are data."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.data, self.text, self._inside = [], [], [], ''
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    self._inside = dict(attrs).get('type') or tag

  def handle_endtag(self, tag):
    self._inside = ''

  def handle_data(self, data):
    if self._inside == 'application/json':
      self.data.append(json.loads(data))
    elif self._inside not in ('script', 'style'):
      self.text.append(data)


def page_of(*workdirs):
  return writing.html(groups.make(runs.read_all(workdirs)), trust=False)


def evil_run(tmp_path):
  workdir = tmp_path / EVIL.replace('/', '∕')
  log = [
    line | {EVIL: 1.0, f'train/loss/{EVIL}': 2.0} for line in made.lines(9)
  ]
  log.append({'env_steps': 100, f'a{EVIL}': None})
  config = made.config(env__gymnasium__id=EVIL) | {EVIL: EVIL}
  made.write(workdir, log, None, config)
  start = {'command': EVIL, 'devices': EVIL, 'packages': {EVIL: EVIL}}
  (workdir / 'run.json').write_text(json.dumps([start]))
  (workdir / 'videos').mkdir()
  name = EVIL.replace('/', '∕') + '_5.gif'
  (workdir / 'videos' / name).write_bytes(made.GIF)
  return workdir


def test_nothing_of_a_run_is_html(tmp_path):
  other = made.write(tmp_path / 'b', made.lines(3), None, made.config())
  text = page_of(evil_run(tmp_path), other)
  parsed = Parsed(text)
  assert 'onerror=alert(1)' in ''.join(parsed.text)
  for tag, attributes in parsed.tags:
    assert not any(name.startswith('on') for name in attributes), tag
    if tag == 'img':
      assert attributes['src'].startswith('data:image/gif;base64,')
  scripts = [a for tag, a in parsed.tags if tag == 'script']
  programs = [a for a in scripts if a.get('type') != 'application/json']
  assert len(programs) == 2 and all(a['nonce'] for a in programs)
  assert len(parsed.data) == len(scripts) - 2 > 3


def test_only_scripts_with_the_mark_of_the_page_run(tmp_path):
  made.write(tmp_path, made.lines(3))
  pages = [Parsed(page_of(tmp_path)) for _ in range(2)]
  marks = []
  for page in pages:
    (policy,) = (
      a['content'] for t, a in page.tags if t == 'meta' and 'http-equiv' in a
    )
    assert policy.startswith("default-src 'none';")
    mark = re.search(r"script-src 'nonce-([\w-]{16,})';", policy)[1]
    assert 'unsafe-eval' not in policy
    marks.append(mark)
  assert marks[0] != marks[1]


def test_the_page_needs_nothing_else(tmp_path):
  parsed = Parsed(page_of(made.write(tmp_path, made.lines(3))))
  for tag, attributes in parsed.tags:
    assert tag not in ('link', 'iframe', 'object', 'base'), tag
    for name in ('src', 'href'):
      value = attributes.get(name, '#')
      assert value.startswith(('#', 'data:')), (tag, value)


def test_every_chart_says_its_axes(tmp_path):
  parsed = Parsed(page_of(made.write(tmp_path, made.lines(30, repeat=4))))
  axes = [
    json.loads(a['data-axes']) for _, a in parsed.tags if 'data-axes' in a
  ]
  assert len(axes) == len(parsed.data) > 3
  assert all(x == ['environment steps', 'frames', 'hours'] for x in axes)


def test_warnings_are_at_the_head(tmp_path):
  log = [*made.lines(9), {'env_steps': 91, 'diverged/update': 3.0}]
  text = page_of(made.write(tmp_path, log))
  head = text[: text.index('</header>')]
  assert 'The loss diverged at update 3' in head


def test_sections_of_others_are_shown_with_their_warnings(
  tmp_path, monkeypatch
):
  steps = np.arange(5.0)
  series = Series('error', {'steps ahead': steps}, steps**2, mark='bars')
  section = Section(
    'Open loop', 'How far off.', [Chart('pixels', [series])], warnings=['Bad.']
  )
  monkeypatch.setattr(
    writing, 'OF_RUN', [lambda run: section, lambda run: None]
  )
  parsed = Parsed(page_of(made.write(tmp_path / 'a', made.lines(3))))
  text = ''.join(parsed.text)
  assert 'Open loop: Bad.' in text and 'How far off.' in text
  assert ['steps ahead'] in [
    json.loads(a['data-axes']) for _, a in parsed.tags if 'data-axes' in a
  ]


def test_several_runs_are_told_apart(tmp_path):
  workdirs = made.seeds(tmp_path, 2) + made.seeds(
    tmp_path / 'x', 1, optimizer__dreamer__lr=0.1
  )
  text = ''.join(Parsed(page_of(*workdirs)).text)
  assert 'lr=4e-05' in text and 'lr=0.1' in text
  assert 'x/seed_0' in text


@pytest.mark.slow
def test_a_million_lines_are_a_small_page(tmp_path):
  rng = np.random.default_rng(0)
  path = made.write(tmp_path, [], None, made.config()) / 'metrics.jsonl'
  noise = rng.normal(size=1_000_000).round(4).tolist()
  with path.open('w') as file:
    for i, x in enumerate(noise, 1):
      file.write(
        f'{{"env_steps": {i}, "frames": {4 * i}, "episode/return": {x}, '
        f'"train/loss/dyn": {x * x}, "train/opt/grad_norm": {abs(x)}, '
        f'"time/elapsed": {i / 50}, "rate/updates": {20 + x}}}\n'
      )
  began = time.process_time()
  run = runs.read(tmp_path, 'x')
  seconds = time.process_time() - began
  print(f'A million lines are read in {seconds:.1f} s of CPU time.')
  assert seconds < 120
  text = writing.html(groups.make([run]), trust=False)
  assert len(text.encode()) < 5_000_000
  assert 'episode/return, has 1,000,000 points' in text
  curve = run.log.curves['episode/return'].points(512)
  assert curve.values.max() == max(noise) and curve.values.min() == min(noise)
