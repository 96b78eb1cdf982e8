"""A stranger's workdir runs nothing, and leads nowhere."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from typing import Annotated

import pytest

from dreamer_nnx import config as configs
from dreamer_nnx.registry import Choice, Choices, Part, Slot
from dreamer_nnx.run import saved_config
from dreamer_nnx.schema import Imports, imports
from dreamer_nnx.training.clocks import Ratio
from dreamer_nnx.training.workdir import check as check_workdir
from dreamer_nnx.trust import UntrustedError, check
from tests import hostile, toys
from tests.launcher import ROOT, arguments, launch

# Which code a config names.


def suite(
  *,
  make: Annotated[str, Imports()] = 'ours:env',
  id: Annotated[str, Imports(':')] = '',
  plain: str = '',
  lines: Annotated[tuple[str, ...], Imports()] = (),
  head: Choice = Choice(toys.HEAD, 'plain'),
): ...


SUITE = Slot('suite', home='tests.toys', given=(), builds=object)
SUITE.register('suite')(suite)
HOST = Slot('host', home='tests.toys', given=(), builds=object)


SUITES = Choices(SUITE)


def hosts(*, suites: Choices = SUITES): ...


HOST.register('hosts')(hosts)
TREE = {
  'plugins': (),
  'seed': 0,
  'suite': Choice(SUITE, 'suite'),
  'all': Choices(SUITE, ('suite',)),
  'part': Part(suite),
  'deep': Choice(HOST, 'hosts'),
  'ours': Choice(SUITE, 'tests.toys:Unregistered'),
}


def named(**fields):
  return {'name': 'suite', 'suite': fields}


def found(saved, named=()):
  try:
    check(saved, TREE, named)
  except UntrustedError as error:
    return dict(error.found)
  return {}


@pytest.mark.parametrize(
  ('saved', 'path'),
  [
    ({'plugins': ['evil']}, 'plugins'),
    ({'suite': {'name': 'evil:x'}}, 'suite.name'),
    (
      {'suite': {'name': 'suite', 'suite': {'make': 'e:x'}}},
      'suite.suite.make',
    ),
    ({'suite': named(id='e:x')}, 'suite.suite.id'),
    ({'suite': named(lines=['x'])}, 'suite.suite.lines'),
    ({'suite': named(make=[3])}, 'suite.suite.make'),
    ({'suite': named(head={'name': 'e:x'})}, 'suite.suite.head.name'),
    ({'all': {'names': ['suite', 'evil:x']}}, 'all.names'),
    ({'all': {'names': ['suite'], 'suite': {'id': 'e:x'}}}, 'all.suite.id'),
    ({'part': {'make': 'e:x'}}, 'part.make'),
    ({'part': {'head': {'name': 'e:x'}}}, 'part.head.name'),
    (
      {
        'deep': {
          'name': 'hosts',
          'hosts': {'suites': {'names': ['suite'], 'suite': {'make': 'e:x'}}},
        }
      },
      'deep.hosts.suites.suite.make',
    ),
  ],
)
def test_code_is_found_wherever_it_is_named(saved, path):
  assert list(found(saved)) == [f'config.{path}']
  assert not found(saved, {path})


@pytest.mark.parametrize(
  'saved',
  [
    {},
    {'plugins': []},
    {'suite': named()},
    # Defaults are the builder's own; ids without a module name no code.
    {
      'suite': {
        'name': 'suite',
        'suite': {'make': 'ours:env', 'id': 'CartPole'},
      }
    },
    {'suite': named(plain='e:x', lines=[])},
    # A branch that is not chosen is not read.
    {'suite': {'name': 'suite', 'other': {'make': 'e:x'}}},
    {'ours': {'name': 'tests.toys:Unregistered'}},
    # Not of the form of a config: an error of another kind.
    {'suite': 'e:x', 'all': {'names': 'e:x'}, 'part': ['e:x'], 'seed': 'e:x'},
  ],
)
def test_nothing_is_found_where_no_code_is_named(saved):
  assert not found(saved)


def test_marks_are_read_from_any_kind_of_builder():
  assert imports(suite) == {
    'make': Imports(),
    'id': Imports(':'),
    'lines': Imports(),
  }
  assert imports(toys.Scaled) == imports(toys.plain) == {}


def test_a_field_whose_annotation_cannot_be_read_counts_as_marked():
  def late(*, make='') -> None: ...

  late.__annotations__['make'] = 'NameOfNothing'

  assert imports(late) == {'make': Imports()}


def test_everything_is_listed_and_nothing_is_imported(tmp_path, monkeypatch):
  for name in ('evil_plugin', 'evil_env'):
    touch = f'open({str(tmp_path / name)!r} + ".ran", "w")\nbuild = print\n'
    (tmp_path / f'{name}.py').write_text(touch)
  monkeypatch.syspath_prepend(tmp_path)
  saved = {
    'plugins': ['evil_plugin'],
    'env': {'name': 'evil_env:build'},
    'loggers': {'names': ['terminal', 'evil_env:build']},
    'reward': {'head': {'name': 'evil_env:build'}},
  }
  with pytest.raises(UntrustedError) as error:
    configs.from_json(json.dumps(saved))
  assert str(error.value).splitlines() == [
    'config: the saved one names code that is not of this package, and that '
    'would be run:',
    "  config.plugins = ('evil_plugin',)",
    "  config.env.name = 'evil_env:build'",
    "  config.reward.head.name = 'evil_env:build'",
    "  config.loggers.names = 'evil_env:build'",
    'If you trust whoever made it, trust_config=True runs it.',
  ]
  assert not list(tmp_path.glob('*.ran'))
  assert not {'evil_plugin', 'evil_env'} & set(sys.modules)


# What the command line names.


@pytest.fixture(scope='module')
def honest(tmp_path_factory):
  """A short run on the built-in game."""
  workdir = tmp_path_factory.mktemp('honest')
  argv = arguments(workdir, train__steps=40, evaluate__sampled='false')
  result = launch([*argv, '--mode=train'])
  assert result.status == 0, result.err
  return workdir


@pytest.fixture
def shell(honest, tmp_path):
  """A workdir whose config runs a command, and the file that it makes."""
  workdir = hostile.copy_workdir(honest, tmp_path / 'theirs')
  ran = tmp_path / 'ran'

  def change(meta):
    fields = {
      'id': 'subprocess:getoutput',
      'arguments': [f"cmd='touch {ran}'"],
    }
    meta['config']['env'] = {'name': 'gymnasium', 'gymnasium': fields}

  hostile.edit_meta(workdir, change)
  return workdir, ran


def run(argv, folder=None):
  return subprocess.run(
    [sys.executable, '-m', 'dreamer_nnx.main', *argv],
    cwd=ROOT,
    env=os.environ | {'PYTHONPATH': f'{folder or ""}{os.pathsep}{ROOT}'},
    capture_output=True,
    text=True,
  )


@pytest.mark.parametrize('mode', ['evaluate', 'train', 'show'])
def test_a_command_in_a_config_is_refused_at_every_door(shell, mode):
  workdir, ran = shell
  result = run([f'--mode={mode}', f'--workdir={workdir}'])
  assert result.returncode == 2, result.stderr
  assert not ran.exists()
  lines = result.stderr.strip().splitlines()
  assert lines[-5:-1] == [
    'config: the saved one names code that is not of this package, and that '
    'would be run:',
    f'  config.env.gymnasium.arguments = ("cmd=\'touch {ran}\'",)',
    "  config.env.gymnasium.id = 'subprocess:getoutput'",
    'If you trust whoever made it, run:',
  ]
  command = shlex.split(lines[-1])
  assert command[1:] == [
    '-m',
    'dreamer_nnx.main',
    f'--mode={mode}',
    f'--workdir={workdir}',
    '--trust_config',
  ]


def test_the_command_that_is_printed_trusts_the_config(shell):
  workdir, ran = shell
  result = launch([f'--workdir={workdir}', '--mode=show', '--trust_config'])
  assert result.status == 2 and 'it made a str' in result.err
  assert ran.exists()


def test_in_python_a_config_is_trusted_by_an_argument(shell):
  workdir, ran = shell
  with pytest.raises(UntrustedError, match='subprocess:getoutput'):
    saved_config(workdir)
  config = saved_config(workdir, trust_config=True)
  assert config.env.gymnasium.id == 'subprocess:getoutput'
  assert not ran.exists()


def test_what_the_command_line_names_stands_in_for_what_is_saved(shell):
  workdir, ran = shell
  own = launch(
    [f'--workdir={workdir}', '--mode=evaluate', '--config.env.name=track']
  )
  assert own.status == 2
  assert 'in the checkpoint Box(8, 8, 3)' in own.err, own.err
  fields = ['id=CartPole-v1', 'arguments=()']
  argv = [f'--config.env.gymnasium.{field}' for field in fields]
  result = launch([f'--workdir={workdir}', '--mode=show', *argv])
  assert result.status == 0, result.err
  assert not ran.exists()


PLUGIN = """
from typing import Annotated

from dreamer_nnx.envs.track import track
from dreamer_nnx.schema import Imports
from dreamer_nnx.slots import ENV

@ENV.register('mine')
def mine(*, num_envs, seed, code: Annotated[str, Imports()] = ''):
  if code:
    exec(code)
  return track(num_envs=num_envs, seed=seed, size=8, length=8)
"""


@pytest.mark.parametrize('name', ['mine', 'mine_plugin:mine'])
def test_a_plugin_is_trusted_where_the_command_line_names_it(
  honest, tmp_path, name
):
  (tmp_path / 'mine_plugin.py').write_text(PLUGIN)
  workdir = hostile.copy_workdir(honest, tmp_path / 'run')
  ran = tmp_path / 'ran'
  env = {'name': name, 'mine': {'code': ''}}
  plugins = ['mine_plugin'] if name == 'mine' else []

  def change(meta):
    meta['config'] |= {'env': env, 'plugins': plugins}

  hostile.edit_meta(workdir, change)
  own = f'--config.env.name={name}'
  named = '--config.plugins=mine_plugin' if plugins else own
  argv = ['--mode=show', f'--workdir={workdir}']
  assert run(argv, tmp_path).returncode == 2
  result = run([*argv, named], tmp_path)
  assert result.returncode == 0, result.stderr
  # But not what a stranger has it do.
  env['mine'] = {'code': f'open({str(ran)!r}, "w")'}
  hostile.edit_meta(workdir, change)
  result = run([*argv, named], tmp_path)
  assert result.returncode == 2 and 'config.env.mine.code' in result.stderr
  assert not ran.exists()


# What leads out of a folder.


LINKS = {
  'checkpoints': 'folder',
  'checkpoints/40/state': 'folder',
  'checkpoints/40/meta/metadata': 'file',
  'replay': 'folder',
  'replay/process_1': 'folder',
  'replay/0000000000.data': 'file',
  '.lock': 'file',
  'evaluations.jsonl': 'file',
  'metrics.jsonl': 'gone',
  'videos': 'folder',
}


def removed(path):
  if path.is_dir():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)


@pytest.mark.parametrize('mode', ['evaluate', 'train'])
@pytest.mark.parametrize('name', LINKS)
def test_links_out_of_the_folder_are_refused(honest, tmp_path, name, mode):
  workdir = hostile.copy_workdir(honest, tmp_path / 'theirs')
  outside = tmp_path / 'outside'
  link, kind = workdir / name, LINKS[name]
  if kind == 'folder':
    outside.mkdir()
    if link.exists():
      shutil.copytree(link, outside, dirs_exist_ok=True)
  elif kind == 'file':
    outside.write_bytes(link.read_bytes() if link.exists() else b'dear')
  before = contents(outside)
  removed(link)
  link.symlink_to(outside)
  result = launch([f'--workdir={workdir}', f'--mode={mode}'])
  assert result.status == 2, result.err
  assert f'{name}: leads to {outside}' in result.err.replace('/40: ', ': ')
  assert contents(outside) == before


def contents(path):
  """Names and bytes of everything below a path."""
  return {
    str(file): file.read_bytes()
    for file in [path, *path.rglob('*')]
    if file.is_file()
  }


@pytest.mark.parametrize('name', ['checkpoints/40/meta/metadata', 'replay/x'])
def test_what_would_hang_is_refused(honest, tmp_path, name):
  workdir = hostile.copy_workdir(honest, tmp_path / 'theirs')
  removed(workdir / name)
  os.mkfifo(workdir / name)
  result = launch([f'--workdir={workdir}', '--mode=train'])
  assert result.status == 2
  assert f'{name}: is neither a file nor a folder' in result.err


def test_links_within_a_workdir_and_to_it_are_followed(honest, tmp_path):
  workdir = hostile.copy_workdir(honest, tmp_path / 'run')
  (workdir / 'checkpoints').rename(workdir / 'moved')
  (workdir / 'checkpoints').symlink_to('moved')
  (tmp_path / 'link').symlink_to(workdir)
  assert saved_config(tmp_path / 'link') == saved_config(honest)
  check_workdir(tmp_path / 'link')


# What claims to be larger than it is.


def put(*place_and_value):
  """Changes one value deep inside a JSON."""

  def change(node):
    *place, key, value = place_and_value
    for name in place:
      node = node[name]
    node[key] = value

  return change


def text(name, data):
  """Replaces a file of the latest checkpoint."""

  def change(workdir):
    root = hostile.step_of(workdir)
    (root / name).write_bytes(data)
    if name != 'files.json':
      hostile.seal(root)

  return change


def sparse(name):
  """Has a file of the latest checkpoint claim a terabyte."""

  def change(workdir):
    os.truncate(hostile.step_of(workdir) / name, 2**40)

  return change


def meta(*place_and_value):
  return lambda workdir: hostile.edit_meta(workdir, put(*place_and_value))


def array(item, *place_and_value):
  change = put(*place_and_value)
  return lambda workdir: hostile.edit_array(workdir, item, change)


LISTS = b'[' + b'[],' * 9_000_000 + b'[]]'
CORPUS = {
  'meta, a terabyte': (sparse('meta/metadata'), 'metadata has'),
  'meta, many lists': (text('meta/metadata', LISTS), 'metadata has'),
  'meta, deep': (text('meta/metadata', b'[' * 100_000), 'meta cannot be'),
  'meta, a list': (text('meta/metadata', b'[]'), 'meta cannot be read'),
  'meta, cut': (text('meta/metadata', b'{"counters"'), 'meta cannot be'),
  'checksums, a terabyte': (sparse('files.json'), 'files.json has'),
  'checksums, many': (text('files.json', LISTS), 'files.json has'),
  'checksums, text': (text('files.json', b'[3]'), 'files.json cannot be'),
  'tree, a terabyte': (sparse('state/_METADATA'), '_METADATA has'),
  'tree, many': (text('state/_METADATA', LISTS), '_METADATA has'),
  'tree, of nothing': (text('state/_METADATA', b'{}'), 'state cannot be'),
  'counter of text': (meta('counters', 'env_steps', 'x'), 'is no count'),
  'negative counter': (meta('counters', 'updates', -1), 'is no count'),
  'counter of offline updates': (
    meta('counters', 'offline_updates', True),
    'is no count',
  ),
  'large counter': (meta('counters', 'env_steps', 10**400), 'is no count'),
  'clocks': (meta('counters', 'clocks', 3), 'clocks is no object'),
  'callbacks': (meta('callbacks', [3]), 'callbacks is no object'),
  'no processes': (meta('processes', []), 'processes is no list'),
  'processes of text': (meta('processes', ['x']), 'processes is no list'),
  'state, huge': (array('state', 'shape', [10**12]), 'this config builds'),
  'state, huge parts': (array('state', 'chunks', [10**12]), 'in parts of'),
  'loop, huge': (array('loop', 'shape', [10**6, 10**6]), 'bytes in'),
  'loop, huge parts': (array('loop', 'chunks', [10**6, 10**6]), 'in parts'),
  'loop, negative': (array('loop', 'shape', [-4, 2]), 'loop cannot be'),
}


@pytest.fixture(scope='module')
def readings(honest, tmp_path_factory):
  """How reading each of the corpus ended, in one process of its own."""
  folder = tmp_path_factory.mktemp('corpus')
  paths = []
  for index, (change, _) in enumerate(CORPUS.values()):
    paths.append(hostile.copy_workdir(honest, folder / str(index)))
    change(paths[-1])
  result = subprocess.run(
    [sys.executable, '-m', 'tests.hostile', honest, *paths],
    cwd=ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  found = json.loads(result.stdout.splitlines()[-1])
  return dict(zip(CORPUS, found, strict=True))


@pytest.mark.parametrize('name', CORPUS)
def test_hostile_checkpoints_are_refused_from_their_headers(readings, name):
  error, seconds, memory = readings[name]
  assert error.startswith('CheckpointError: checkpoint step'), error
  assert CORPUS[name][1] in error
  assert seconds < 1
  assert memory < 200 * 2**10


@pytest.mark.parametrize(
  'credit', ['1e1000000000', '1/0', '-1/2', '3/2', '9' * 5000, 'x', None]
)
def test_a_clock_works_nothing_out(credit):
  with pytest.raises(ValueError):
    Ratio(0.5).restore({'previous': 3, 'credit': credit})
