"""A plugin as a package: installed elsewhere, tested, and trained by name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / 'experiments' / 'example_plugin'
# The package's config, at the size of tests.
CONFIG = """
from dreamer_example import config as example

from dreamer_nnx import config as configs
from dreamer_nnx.testing import agents, pairs


def get_config():
  config = example.get_config()
  sizes = {**agents.SIZES, **pairs.RUN, 'env.name': 'track'}
  configs.apply(config, sizes)
  return config
"""


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
  """A folder in which the plugin was installed, from a copy of its files."""
  target = tmp_path_factory.mktemp('installed')
  source = tmp_path_factory.mktemp('source')
  for path in PLUGIN.rglob('*'):
    if path.suffix in ('.py', '.toml', '.md'):
      copy = source / path.relative_to(PLUGIN)
      copy.parent.mkdir(parents=True, exist_ok=True)
      copy.write_bytes(path.read_bytes())
  options = ('--no-deps', '--no-build-isolation', '--no-index', '--quiet')
  pip = (sys.executable, '-m', 'pip', 'install', *options)
  run(*pip, '--target', str(target), str(source), target=target)
  return target


def run(*command, target, cwd=ROOT):
  paths = (str(target), str(ROOT))
  env = os.environ | {'PYTHONPATH': os.pathsep.join(paths)}
  done = subprocess.run(
    command, env=env, cwd=cwd, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


@pytest.mark.slow
def test_its_own_tests_pass(installed):
  pytest_of = (sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider')
  config = ('-c', 'pyproject.toml', '--rootdir', '.')
  out = run(*pytest_of, *config, target=installed, cwd=PLUGIN)
  assert '6 passed' in out


@pytest.mark.slow
def test_trains_by_name(installed, tmp_path):
  workdir = tmp_path / 'run'
  main = (sys.executable, '-m', 'dreamer_nnx.main', '--mode=train')
  file = tmp_path / 'small.py'
  file.write_text(CONFIG, 'utf-8')
  flags = (f'--config={file}', f'--workdir={workdir}')
  run(*main, *flags, '--compilation_cache=', target=installed, cwd=tmp_path)
  saved = json.loads((workdir / 'config.json').read_text('utf-8'))
  assert saved['plugins'] == ['example']
  assert saved['encoder']['name'] == 'pooled'
  lines = (workdir / 'metrics.jsonl').read_text('utf-8').splitlines()
  names = {name for line in lines for name in json.loads(line)}
  assert any(name.endswith('loss/dyn') for name in names), names
