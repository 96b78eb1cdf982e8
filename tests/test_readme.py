"""The README does what it says: its programs run and its commands parse."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from dreamer_nnx.training.checkpoint import load_meta
from tests.launcher import CACHE, ROOT, TINY

README = (ROOT / 'README.md').read_text('utf-8')
BLOCK = re.compile(r'^```(\w+)\n(.*?)^```$', re.DOTALL | re.MULTILINE)
LINK = re.compile(r'(?<!!)\[[^\]]*\]\((?!https?:)([^)#]+)\)')
LAUNCHER = 'python -m dreamer_nnx.main '

# In a process of its own, for plugins stay registered.
PARSE = """
import copy, json, sys
from absl import flags
from dreamer_nnx import config as configs, main, overrides

def complaint(argv):
  values = copy.deepcopy(flags.FLAGS)
  try:
    rest = values(['dreamer-nnx', *argv], known_only=True)
    configs.load_plugins(overrides.plugins_from_argv(rest))
    config = overrides.load_file(values.config or 'configs/demo.py')
    _, *unknown = overrides.override(config, rest)
    configs.resolve(config)
  except (flags.Error, ValueError) as error:
    return str(error)
  return ' '.join(unknown)

json.dump([complaint(argv) for argv in json.load(sys.stdin)], sys.stdout)
"""


def blocks(language: str) -> list[str]:
  return [text for kind, text in BLOCK.findall(README) if kind == language]


def commands() -> list[list[str]]:
  """Arguments of every launch in the README."""
  lines = '\n'.join(blocks('sh')).replace('\\\n', ' ').splitlines()
  return [
    shlex.split(line.partition(LAUNCHER)[2])
    for line in lines
    if LAUNCHER in line
  ]


def command(flag: str) -> list[str]:
  """Arguments of the one launch that has this flag."""
  (found,) = [argv for argv in commands() if flag in argv]
  return found


def run(
  argv: list[str], folder: pathlib.Path, given: str = ''
) -> subprocess.CompletedProcess:
  """The result of a Python that finds the modules of a folder."""
  # Compiled programs run only briefly here: what counts is compiling fast.
  flags = os.environ.get('XLA_FLAGS', ''), '--xla_backend_optimization_level=0'
  return subprocess.run(
    [sys.executable, *argv],
    cwd=ROOT,
    env=os.environ
    | {
      'PYTHONPATH': os.pathsep.join(map(str, (folder, ROOT))),
      'JAX_COMPILATION_CACHE_DIR': str(CACHE),
      'TMPDIR': str(folder),
      'XLA_FLAGS': ' '.join(flags),
    },
    input=given,
    capture_output=True,
    text=True,
  )


@pytest.fixture(scope='module')
def plugins(tmp_path_factory):
  """A folder with the module that the README shows."""
  folder = tmp_path_factory.mktemp('plugins')
  for text in blocks('python'):
    name = re.match(r'# (\w+\.py)\n', text)
    if name:
      (folder / name[1]).write_text(text, 'utf-8')
  return folder


def test_python_path_trains_and_evaluates(tmp_path):
  program, *_ = blocks('python')
  result = run(['-c', program], tmp_path)
  assert result.returncode == 0, result.stderr
  said = re.search(r'Return after (\d+) updates: .* over 4 ', result.stdout)
  assert said, result.stdout
  assert int(said[1]) > 0
  assert list(tmp_path.glob('*/replay')), 'the workdir is not in TMPDIR'


def test_commands_parse(plugins):
  given = commands()
  broken = [
    ['--mode=shwo'],
    ['--worksdir=runs/track'],
    ['--config=configs/nothing.py'],
    ['--config=configs/demo.py:13m'],
    ['--config.encoder.flat.units=256'],
    ['--config.plugins=flat_encoder', '--config.encoder.flat.unit=256'],
  ]
  # Plugins stay: what has to fail without one comes before it.
  asked = json.dumps([*broken, *given])
  result = run(['-c', PARSE], plugins, asked)
  assert result.returncode == 0, result.stderr
  complaints = json.loads(result.stdout)
  refused, accepted = complaints[: len(broken)], complaints[len(broken) :]
  assert all(refused), refused
  assert len(accepted) == len(given) > 10
  assert not any(accepted), [
    pair for pair in zip(given, accepted, strict=True) if pair[1]
  ]


def test_component_is_trained_by_its_command(plugins, tmp_path):
  workdir = tmp_path / 'flat'
  tiny = [
    f'--{name}={value}'
    for name, value in TINY.items()
    if 'encoder.simple' not in name
  ]
  argv = [*command('--config.encoder.name=flat'), *tiny, '--mode=train']
  main = ['-m', 'dreamer_nnx.main', f'--compilation_cache={CACHE}']
  result = run([*main, *argv, f'--workdir={workdir}'], plugins)
  assert result.returncode == 0, result.stderr
  meta = load_meta(workdir)
  assert meta['counters']['updates'] > 0
  assert meta['config']['encoder'] == {'name': 'flat', 'flat': {'units': 256}}
  argv = [*main, '--mode=evaluate', f'--workdir={workdir}']
  result = run(argv, plugins)
  assert result.returncode == 2, result.stdout
  assert "config.plugins = ('flat_encoder',)" in result.stderr
  result = run([*argv, '--config.plugins=flat_encoder'], plugins)
  assert result.returncode == 0, result.stderr
  assert 'greedy' in result.stdout


def test_component_is_found_by_module_and_attribute(plugins):
  argv = command('--config.encoder.name=flat_encoder:FlatEncoder')
  result = run(['-m', 'dreamer_nnx.main', *argv, '--mode=show'], plugins)
  assert result.returncode == 0, result.stderr
  # 16 x 16 pixels of 3 colours, and the units of the command.
  assert re.search(r'encoder/dense/linear/kernel +768x256', result.stdout)


def test_make_has_the_targets():
  makefile = (ROOT / 'Makefile').read_text('utf-8')
  named = set(re.findall(r'\bmake (\w+)', '\n'.join(blocks('sh'))))
  assert named == {'demo', 'test'}
  for target in named:
    assert re.search(f'^{target}:', makefile, re.MULTILINE), target


@pytest.mark.parametrize('name', ('README.md', 'WORKSPACE.md'))
def test_links_lead_somewhere(name):
  found = LINK.findall((ROOT / name).read_text('utf-8'))
  assert [link for link in found if not (ROOT / link).exists()] == []


def test_workspace_names_what_exists():
  text = (ROOT / 'WORKSPACE.md').read_text('utf-8')
  paths = set(re.findall(r'`((?:dreamer_nnx|tests|configs)/[\w/.]+)`', text))
  assert paths
  assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
