"""A plugin as a package: installed elsewhere, tested, and trained by name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / 'experiments' / 'example_plugin'
SMALL = (
  '--config.**.units=8',
  '--config.dynamics.rssm.deter=8',
  '--config.dynamics.rssm.hidden=8',
  '--config.dynamics.rssm.blocks=2',
  '--config.decoder.simple.depth=2',
  '--config.decoder.simple.bspace=2',
  '--config.agent.imag_length=2',
  '--config.train.envs=2',
  '--config.train.steps=64',
  '--config.train.batch_size=2',
  '--config.train.batch_length=4',
  '--config.train.train_ratio=2.0',
  '--config.train.log_every=16',
  '--config.replay.chunked.chunk_size=8',
  '--config.replay.chunked.capacity=1000',
)


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
  config = installed / 'dreamer_example' / 'config.py'
  flags = (f'--config={config}', f'--workdir={workdir}', *SMALL)
  run(*main, *flags, '--compilation_cache=', target=installed, cwd=tmp_path)
  saved = json.loads((workdir / 'config.json').read_text('utf-8'))
  assert saved['plugins'] == ['example']
  assert saved['encoder']['name'] == 'pooled'
  lines = (workdir / 'metrics.jsonl').read_text('utf-8').splitlines()
  updates = [json.loads(line).get('updates', 0) for line in lines]
  assert max(updates) >= 2 or any('loss/dyn' in line for line in lines)
