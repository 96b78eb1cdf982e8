"""What a workdir keeps about its run."""

import json
import subprocess
import sys

import jax
import pytest

from dreamer_nnx import versions
from dreamer_nnx.training import processes, run_info


def git(folder, *arguments):
  identity = ['-c', 'user.name=a', '-c', 'user.email=a@b']
  command = ['git', '-C', str(folder), *identity, *arguments]
  done = subprocess.run(command, check=True, capture_output=True, text=True)
  return done.stdout.strip()


def starts(workdir):
  return json.loads((workdir / 'run.json').read_text())


def test_each_start_is_added(tmp_path, monkeypatch):
  monkeypatch.setattr(sys, 'orig_argv', ['python', '-m', 'pytest', 'a b'])
  logged = []
  run_info.write(tmp_path, '{"a": 1}', 0, '1 cpu', logged.append)
  assert not logged
  run_info.write(tmp_path, '{"a": 2}', 40, '1 cpu', logged.append)
  assert logged == [{'run/starts': 2}]
  assert (tmp_path / 'config.json').read_text() == '{"a": 2}'
  first, second = starts(tmp_path)
  assert (first['env_steps'], second['env_steps']) == (0, 40)
  assert second['devices'] == '1 cpu'
  assert second['packages']['jax'] == jax.__version__
  assert second['packages']['dreamer-nnx'] == versions.PACKAGE
  assert second['python'] == '.'.join(map(str, sys.version_info[:3]))
  assert second['command'] == "python -m pytest 'a b'"
  assert sorted(x.name for x in tmp_path.iterdir()) == [
    'config.json',
    'run.json',
  ]


@pytest.mark.parametrize('text', ['', '{', '{}', '[' * 100_000])
def test_a_list_that_cannot_be_read_begins_anew(tmp_path, text):
  (tmp_path / 'run.json').write_text(text)
  run_info.write(tmp_path, '{}', 7, '1 cpu')
  assert [start['env_steps'] for start in starts(tmp_path)] == [7]


def test_other_processes_write_nothing(tmp_path, monkeypatch):
  monkeypatch.setattr(processes, 'first', lambda: False)
  for _ in range(2):
    run_info.write(tmp_path, '{}', 7, '1 cpu', lambda metrics: 1 / 0)
  assert not list(tmp_path.iterdir())


def test_the_commit_is_that_of_tracked_files(tmp_path):
  nothing = {'commit': None, 'changed': None}
  assert run_info.commit(tmp_path) == nothing
  git(tmp_path, 'init', '-q')
  file = tmp_path / 'package' / 'a.py'
  file.parent.mkdir()
  file.write_text('1')
  # A package that is installed in the folder of another project.
  assert run_info.commit(file.parent) == nothing
  git(tmp_path, 'add', '.')
  git(tmp_path, 'commit', '-qm', 'a')
  head = git(tmp_path, 'rev-parse', 'HEAD')
  assert run_info.commit(file.parent) == {'commit': head, 'changed': False}
  file.write_text('2')
  assert run_info.commit(file.parent) == {'commit': head, 'changed': True}
