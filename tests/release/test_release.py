"""A release holds what it should; each check of it sees what it should not."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
import yaml

from dreamer_nnx import versions
from tests.launcher import ROOT
from tests.release import make
from tests.release.make import Fault

WORKFLOWS = sorted((ROOT / '.github' / 'workflows').glob('*.yml'))
CITATION = yaml.safe_load((ROOT / 'CITATION.cff').read_text('utf-8'))
TRACKED = (
  'configs/demo.py',
  'dreamer_nnx/a.py',
  'README.md',
  'tests/test_a.py',
)
WHEEL = [
  'dreamer_nnx/a.py',
  'dreamer_nnx/configs/demo.py',
  'dreamer_nnx-1.2.3.dist-info/RECORD',
]
SOURCE = [
  f'dreamer_nnx-1.2.3/{name}'
  for name in (
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'pyproject.toml',
    'configs/demo.py',
    'dreamer_nnx/a.py',
    'dreamer_nnx.egg-info/SOURCES.txt',
  )
]
# Of an installed wheel: which file is used, and what is found by name.
FOUND = """
import importlib, json, sys
import dreamer_nnx
from dreamer_nnx import overrides
from dreamer_nnx.shipped import find, shipped
config = overrides.load_file('demo:1m')
demo = importlib.import_module('dreamer_nnx.configs.demo')
print(json.dumps([
  dreamer_nnx.__file__, dreamer_nnx.__version__, str(find('demo')), shipped(),
  demo.__file__, config == demo.get_config('1m'),
]))
"""


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """The wheel of what is here, built from a copy: a build leaves files."""
  folder = tmp_path_factory.mktemp('wheel')
  for name in ('configs', 'dreamer_nnx'):
    ignored = shutil.ignore_patterns('__pycache__')
    shutil.copytree(ROOT / name, folder / 'copy' / name, ignore=ignored)
  for name in ('LICENSE', 'MANIFEST.in', 'README.md', 'pyproject.toml'):
    shutil.copy(ROOT / name, folder / 'copy')
  options = ['--no-build-isolation', '--no-deps', '--no-index', '-w', folder]
  pip = [sys.executable, '-m', 'pip', 'wheel', '--quiet', *options, '.']
  done = subprocess.run(
    list(map(str, pip)), cwd=folder / 'copy', capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  (found,) = folder.glob('*.whl')
  return found


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_configs(wheel):
  files = [*ROOT.glob('configs/*.py'), *ROOT.glob('dreamer_nnx/**/*.*')]
  names = [file.relative_to(ROOT).as_posix() for file in files]
  tracked = [name for name in names if '__pycache__' not in name]
  names = zipfile.ZipFile(wheel).namelist()
  make.check_wheel(names, tracked)
  make.check_names(
    wheel.name, f'dreamer_nnx-{versions.PACKAGE}.tar.gz', versions.PACKAGE
  )


@pytest.mark.slow
def test_configs_of_a_wheel_are_found_by_name(wheel, tmp_path):
  site = tmp_path / 'site'
  zipfile.ZipFile(wheel).extractall(site)
  program = f'import sys; sys.path.insert(0, {str(site)!r})\n{FOUND}'
  done = subprocess.run(
    [sys.executable, '-I', '-c', program],
    cwd=tmp_path,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  package, version, demo, names, module, same = json.loads(done.stdout)
  assert package == str(site / 'dreamer_nnx' / '__init__.py')
  assert version == versions.PACKAGE
  assert demo == module == str(site / 'dreamer_nnx' / 'configs' / 'demo.py')
  assert names == sorted(x.stem for x in (ROOT / 'configs').glob('*.py'))
  assert same


def test_checks_of_contents_pass_what_is_good():
  make.check_wheel(WHEEL, TRACKED)
  make.check_source(SOURCE, TRACKED)
  make.check_names(
    'dreamer_nnx-1.2.3-py3-none-any.whl', 'dreamer_nnx-1.2.3.tar.gz', '1.2.3'
  )


@pytest.mark.parametrize(
  ('names', 'message'),
  [
    (WHEEL[1:], 'the wheel lacks dreamer_nnx/a.py'),
    (WHEEL[:1], 'the wheel lacks dreamer_nnx/configs/demo.py'),
    ([*WHEEL, 'tests/test_a.py'], 'has in excess tests/test_a.py'),
    ([*WHEEL, 'configs/demo.py'], 'has in excess configs/demo.py'),
  ],
)
def test_a_wheel_of_other_contents_is_a_fault(names, message):
  with pytest.raises(Fault, match=re.escape(message)):
    make.check_wheel(names, TRACKED)


@pytest.mark.parametrize(
  ('names', 'message'),
  [
    (SOURCE[1:], 'the source distribution lacks CHANGELOG.md'),
    (SOURCE[:4] + SOURCE[5:], 'lacks configs/demo.py'),
    ([*SOURCE, 'dreamer_nnx-1.2.3/tests/test_a.py'], 'excess tests/test_a.py'),
  ],
)
def test_a_source_distribution_of_other_contents_is_a_fault(names, message):
  with pytest.raises(Fault, match=message):
    make.check_source(names, TRACKED)


def pages(folder, changes, citation='version: 1.2.3\n'):
  (folder / 'CHANGELOG.md').write_text(changes, 'utf-8')
  (folder / 'CITATION.cff').write_text(citation, 'utf-8')


GOOD = '# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-31\n\n- A.\n'


@pytest.mark.parametrize(
  ('changes', 'citation', 'message'),
  [
    (GOOD, 'version: 1.2.2\n', 'does not say version: 1.2.3'),
    (GOOD.replace('1.2.3', '1.2.2'), 'version: 1.2.3\n', r'has \[1.2.2\] - '),
    (GOOD.replace(' - 2026-01-31', ''), '', r'1.2.3; CHANGELOG.md has \[1.2.3'),
    (GOOD.replace('## [1', '- B.\n\n## [1'), '', 'are not below 1.2.3'),
    (GOOD.replace('## [Unreleased]\n\n', ''), '', 'does not begin with'),
    ('## [Unreleased]\n', '', 'has nothing at the top'),
  ],
)
def test_pages_of_another_version_are_a_fault(
  tmp_path, changes, citation, message
):
  pages(tmp_path, GOOD)
  make.check_pages('1.2.3', tmp_path)
  pages(tmp_path, changes, citation)
  with pytest.raises(Fault, match=message):
    make.check_pages('1.2.3', tmp_path)


def test_the_version_is_read_where_it_is_said():
  text = pathlib.Path(versions.__file__).read_text('utf-8')
  assert make.version_of(text) == versions.PACKAGE
  with pytest.raises(Fault, match='no PACKAGE'):
    make.version_of('VERSION = 1')


def test_a_fault_ends_it_with_what_was_said(tmp_path, monkeypatch, capsys):
  with pytest.raises(Fault, match=r'make nothing:\n(.|\n)*No rule'):
    make.said(['make', 'nothing'], tmp_path)
  with pytest.raises(Fault, match='no-such-python: No such file'):
    make.environment('no-such-python', tmp_path)

  def broken(folder):
    raise Fault('a is not b')

  monkeypatch.setattr(make, 'built', broken)
  assert make.main([]) == 1
  assert capsys.readouterr().out == 'FAULT  a is not b\n'


def test_what_is_tried_knows_nothing_of_the_checkout(monkeypatch):
  for name in ('PYTHONPATH', 'MAKEFLAGS', 'VIRTUAL_ENV'):
    monkeypatch.setenv(name, 'x')
  env = make.plain_env()
  assert not {'PYTHONPATH', 'MAKEFLAGS', 'VIRTUAL_ENV'} & env.keys()
  assert 'PATH' in env


def steps(workflow, job):
  return yaml.safe_load(workflow.read_text('utf-8'))['jobs'][job]['steps']


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_of_the_form_that_is_run(path):
  found = yaml.safe_load(path.read_text('utf-8'))
  # YAML 1.1 reads `on` as true.
  assert {'name', True, 'permissions', 'jobs'} <= found.keys()
  assert found['name'] == path.stem
  assert found['permissions'] == {'contents': 'read'}
  for name, job in found['jobs'].items():
    assert job['runs-on'] and job['steps'], name
    assert {job['needs']} <= found['jobs'].keys() if 'needs' in job else True
    for step in job['steps']:
      assert ('uses' in step) != ('run' in step), step
      assert re.fullmatch(r'[\w/-]+@[\w./]+', step.get('uses', 'a/b@v1'))


def test_both_ends_are_tested_with_their_locks():
  test, release = sorted(WORKFLOWS, key=lambda path: path.stem != 'test')
  job = yaml.safe_load(test.read_text('utf-8'))['jobs']['test']
  ends = {x['python']: x['lock'] for x in job['strategy']['matrix']['include']}
  newest = max(ends, key=lambda x: int(x.split('.')[1]))
  assert ends['3.11'] == 'requirements.lock' and len(ends) == 2
  assert ends[newest] == 'requirements-newest.lock'
  assert [x['run'] for x in job['steps'] if 'run' in x] == ['.ci/run']
  tried = [
    x.get('with', {}).get('python-version') for x in steps(release, 'make')
  ]
  assert {*tried} - {None} == set(ends)


def test_a_tag_is_made_into_a_release_and_published():
  release = ROOT / '.github' / 'workflows' / 'release.yml'
  found = yaml.safe_load(release.read_text('utf-8'))
  assert found[True] == {'push': {'tags': ['v*']}}
  (line,) = [x['run'] for x in steps(release, 'make') if 'make ' in str(x)[:40]]
  assert line.split()[:2] == ['make', 'release']
  assert found['jobs']['publish']['permissions'] == {'id-token': 'write'}
  assert found['jobs']['publish']['needs'] == 'make'


def test_the_citation_is_of_this_version():
  required = {'cff-version', 'message', 'title', 'authors'}
  assert required <= CITATION.keys()
  assert CITATION['cff-version'] == '1.2.0'
  assert CITATION['version'] == versions.PACKAGE
  assert re.fullmatch(r'\d{4}-\d\d-\d\d', CITATION['date-released'])
  changes = (ROOT / 'CHANGELOG.md').read_text('utf-8')
  title = f'## [{versions.PACKAGE}] - {CITATION["date-released"]}\n'
  assert title in changes
  assert all(x.keys() <= {'name', 'website'} for x in CITATION['authors'])


def test_the_citation_refers_to_the_paper():
  (paper,) = CITATION['references']
  assert {'type', 'title', 'authors'} <= paper.keys()
  assert [x['family-names'] for x in paper['authors']] == [
    'Hafner',
    'Pasukonis',
    'Ba',
    'Lillicrap',
  ]
  assert '2301.04104' in paper['identifiers'][0]['value']
  assert re.fullmatch(r'10\.\d{4,}/\S+', paper['doi'])
