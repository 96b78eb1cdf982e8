"""Runs of a suite: what is started, taken up, skipped and reported."""

import json
import os
import subprocess
import sys

import pytest

from experiments.jobs.made import wait_for
from experiments.tables import folders, run, suites, table
from tests.launcher import CACHE, ROOT, TINY
from tests.plain import CACHED, PLAIN


def printed(capsys, tmp_path, *more):
  argv = ['--suite=demo', f'--root={tmp_path}', '--dry_run', *more]
  assert run.main(argv) == 0
  return capsys.readouterr().out.splitlines()


def test_commands(capsys, tmp_path):
  lines = printed(capsys, tmp_path, '--seeds=2', '--config.train.steps=60')
  assert len(lines) == 4
  assert f'--workdir={tmp_path}/demo/track/1 ' in lines[3]
  assert lines[3].endswith(
    '--config.train.steps=60 --config.env.name=track --config.seed=1'
  )
  shards = [
    printed(capsys, tmp_path, '--seeds=2', f'--shard={i}/3') for i in range(3)
  ]
  assert sorted(map(len, shards)) == [1, 1, 2]
  flat = [line for shard in shards for line in shard]
  plain = printed(capsys, tmp_path, '--seeds=2')
  assert sorted(flat) == sorted(plain)


def test_finished_runs_are_not_started(capsys, tmp_path):
  workdir = folders.workdir_of(tmp_path, 'demo', 'track', 0)
  workdir.mkdir(parents=True)
  file = workdir / 'evaluations.jsonl'
  ended = {'env_steps': 60, 'policy': 'trained, greedy', 'eval/return': 5.0}
  count = lambda steps, *more: len(
    printed(
      capsys,
      tmp_path,
      '--seeds=1',
      '--tasks=track',
      f'--config.train.steps={steps}',
      *more,
    )
  )
  for changed in ({'policy': 'trained, sampled'}, {'problem': 'cut'}):
    file.write_text(json.dumps(ended | changed) + '\n')
    assert count(60) == 1
  file.write_text(json.dumps(ended) + '\n')
  assert count(60) == 0 and count(61) == 1
  # An evaluation that was good enough has ended it.
  early = '--config.evaluate.every=9', '--config.evaluate.stop_at=5'
  assert count(1_000, *early) == 0
  assert count(1_000, early[0], '--config.evaluate.stop_at=6') == 1
  assert count(60, '--mode=train') == 1
  (workdir / 'checkpoints' / '60').mkdir(parents=True)
  assert count(60, '--mode=train') == 0 and count(61, '--mode=train') == 1


@pytest.mark.parametrize(
  ('more', 'what'),
  [
    (['--suite=dmo'], "Did you mean 'demo'"),
    (['--tasks=trak'], "Did you mean 'track'"),
    (['--seeds=0'], 'at least 1'),
    (['--parallel=0'], 'at least 1'),
    (['--shard=3/3'], 'must be i/n'),
    (['--root=gs://a/b'], 'folder of a file system'),
    (['--config=nothing'], 'no config of this name'),
    (['--config.train.stepz=1'], "Did you mean 'steps'"),
    (['--config.train.steps=-1'], 'config.train.steps'),
    (['--config.seed=1'], 'is set by --seeds'),
    (['--config.env.name=catch'], 'is set by --tasks'),
    (
      ['--suite=crafter', '--seeds=1', '--config.env.crafter.results=x'],
      'config.env.crafter.results = ',
    ),
    (['--suite=bsuite', '--config.env.bsuite.results=x'], 'Leave it out'),
    (['--suite=bsuite', '--tasks=catch/0,catch-0'], 'have one folder'),
    (['--suite=bsuite', '--tasks=catch:0,catch/0'], 'have one folder'),
    (['--suite=gymnasium', '--tasks=..'], 'is no task'),
  ],
)
def test_wrong_requests_start_nothing(capsys, tmp_path, more, what):
  root = tmp_path / 'runs'
  assert run.main(['--suite=demo', f'--root={root}', *more]) == 2
  assert what in capsys.readouterr().err and not root.exists()


def test_a_config_file_that_makes_runs_share_a_folder(tmp_path, capsys):
  file = tmp_path / 'mine.py'
  text = (ROOT / 'configs' / 'crafter.py').read_text()
  file.write_text(text)
  argv = ['--suite=crafter', f'--root={tmp_path}', f'--config={file}']
  assert run.main([*argv, '--dry_run']) == 0
  found = text.replace("'env.name'", "'env.crafter.results': 'x', 'env.name'")
  assert found != text
  file.write_text(found)
  assert run.main([*argv, '--dry_run']) == 2
  assert 'config.env.crafter.results = ' in capsys.readouterr().err


def test_unknown_flags_are_refused(capsys, tmp_path):
  with pytest.raises(SystemExit, match='2'):
    run.main(['--suite=demo', f'--root={tmp_path}', '--steps=3'])
  assert '--steps=3' in capsys.readouterr().err


def test_every_suite_names_a_config_and_a_field():
  for name in suites.SUITES:
    found, suite = suites.find(name)
    assert found == name and suite.config and suite.field.startswith('env.')
  assert suites.find('atari')[0] == 'atari57'


# Neither game takes the fields of the other.
SHORT = {k: v for k, v in TINY.items() if not k.startswith('config.env.')} | {
  'config.train.steps': 80,
  'config.train.save_every': 20,
  'config.train.train_ratio': 4.0,
  'config.train.log_every': 10,
  'config.evaluate.sampled': 'false',
}


@pytest.mark.slow
@pytest.mark.whole
def test_real_runs_go_on_after_a_kill(tmp_path, capsys):
  flags = [f'--{name}={value}' for name, value in SHORT.items()]
  argv = ['--suite=demo', f'--root={tmp_path}', '--seeds=2', '--parallel=2']
  command = [sys.executable, '-m', 'experiments.tables.run', *argv, *flags]
  env = os.environ | PLAIN | CACHED | {'XDG_CACHE_HOME': str(CACHE)}
  first = folders.workdir_of(tmp_path, 'demo', 'catch', 0)
  process = subprocess.Popen(command, cwd=ROOT, env=env)
  wait_for(lambda: (first / 'checkpoints' / '20').exists(), process, 300)
  process.kill()
  process.wait()
  done = subprocess.run(
    command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600
  )
  assert done.returncode == 0, done.stdout + done.stderr
  assert '4 of 4 runs are finished, 0 failed.' in done.stdout
  starts = json.loads((first / 'run.json').read_text())
  assert len(starts) > 1 and starts[-1]['env_steps'] > 0
  again = subprocess.run(
    command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600
  )
  assert again.stdout.count('is finished.') == 4
  assert 'begins' not in again.stdout
  assert table.main(argv[:3]) == 0
  text = capsys.readouterr().out
  assert '| catch | 80 | 2 |' in text and '| track | 80 | 2 |' in text
