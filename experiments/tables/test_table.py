"""Tables of synthetic runs: what they say, and about what is missing."""

import gzip
import json
import os

import numpy as np
import pytest

from experiments.jobs import logs
from experiments.tables import published, table
from experiments.tables.made import line, write_published, write_run

GAMES = ('pong', 'boxing')


def numbers(output):
  return json.loads((output / 'scores.json').read_text())


@pytest.fixture
def root(tmp_path):
  """Two games with two seeds to the end, at 400,000 frames."""
  root = tmp_path / 'runs'
  for index, game in enumerate(GAMES):
    for seed in range(2):
      lines = [line(50_000, 0), line(100_000, 10 * index + seed)]
      write_run(root, 'atari100k', game, seed, lines)
  return root


def call(root, *more):
  return table.main(['--suite=atari100k', f'--root={root}', *more])


def test_table(root, tmp_path, capsys):
  out = tmp_path / 'out'
  tasks = '--tasks=pong,boxing'
  assert call(root, tasks, '--seeds=2', f'--output={out}') == 0
  text = capsys.readouterr().out
  assert '| pong | 400,000 | 2 | 0.5 ± 0.7 | – |' in text
  assert '| boxing | 400,000 | 2 | 10.5 ± 0.7 | – |' in text
  assert 'missing' not in text and 'Wang et al. 2016' in text
  assert (out / 'table.md').read_text().strip() in text
  found = numbers(out)
  pong = np.array([0 + 20.7, 1 + 20.7]) / (14.6 + 20.7)
  boxing = np.array([10 - 0.1, 11 - 0.1]) / (12.1 - 0.1)
  value, low, high = found['aggregates']['']['mean']
  assert value == pytest.approx((pong.mean() + boxing.mean()) / 2)
  assert low == pytest.approx((pong[0] + boxing[0]) / 2)
  assert high == pytest.approx((pong[1] + boxing[1]) / 2)
  middle = found['aggregates']['']['interquartile mean'][0]
  assert middle == pytest.approx((pong[1] + boxing[0]) / 2)


def test_published_scores_at_the_same_frames(root, tmp_path, capsys):
  write_run(root, 'atari100k', 'krull', 0, [line(25_000, 5.0)])
  record = {'method': 'dreamerv3', 'seed': 0}
  records = [
    record | {'task': 'atari_krull', 'xs': [1e5, 4e5], 'ys': [7, 99]},
    record | {'task': 'atari_pong', 'xs': [1e5, 39e4], 'ys': [1, 20]},
    record | {'task': 'atari_boxing', 'xs': [1e5, 4e5], 'ys': [1, None]},
  ]
  folder = tmp_path / 'scores'
  write_published(folder, 'atari100k-dreamerv3', records)
  write_published(folder, 'atari100k-other', records[:1])
  # The checkout, or the folder in it.
  assert call(root, f'--reference={tmp_path}') == 0
  text = capsys.readouterr().out
  assert '| krull | 100,000 | 1 | 5.0 | – | 7.0 |' in text
  assert '| pong | 400,000 | 2 | 0.5 ± 0.7 | – | 20.0 |' in text
  assert '| boxing | 400,000 | 2 | 10.5 ± 0.7 | – | 1.0 |' in text
  assert '|  | ours | dreamerv3 |' in text
  assert 'krull at 100,000 (seed 0)' in text
  assert call(root, f'--reference={folder}', '--methods=all') == 0
  text = capsys.readouterr().out
  assert 'dreamerv3 | other |' in text
  assert 'other has 1 of these 3 tasks, so it is not aggregated.' in text


def test_frames_and_window_can_be_chosen(root, capsys):
  assert call(root, '--tasks=boxing', '--frames=200000') == 0
  assert '| boxing | 200,000 | 2 | 0.0 ± 0.0 |' in capsys.readouterr().out
  assert call(root, '--tasks=boxing', '--window=1') == 0
  assert '| boxing | 400,000 | 2 | 5.2 ± 0.4 |' in capsys.readouterr().out


def test_what_is_missing_is_said_below_the_table(root, capsys):
  lines = [line(100_000, 1), '{"env_steps": 9', '[]', '{"env_steps": "7"}']
  write_run(root, 'atari100k', 'pong', 3, lines, train={'batch_size': 9})
  write_run(root, 'atari100k', 'hero', 0, [{'env_steps': 5}])
  workdir = write_run(root, 'atari100k', 'alien', 0, [line(400_000, 1)])
  (workdir / 'config.json').unlink()
  for path in (root / 'atari100k' / 'boxing').glob('*/config.json'):
    fields = json.loads(path.read_text()) | {'train': {'batch_size': 16}}
    path.write_text(json.dumps(fields))
  assert call(root, '--seeds=4') == 0
  text = capsys.readouterr().out
  assert '| pong | 400,000 | 3 |' in text
  assert 'No runs of 22 of 26 tasks: amidar,' in text
  assert 'No run of seed 2 of pong.' in text
  assert 'No run of seed 2, 3 of boxing.' in text
  assert 'pong, seed 3: 3 unreadable lines of metrics.jsonl' in text
  assert 'hero, seed 0: no episode has ended yet' in text
  assert 'alien, seed 0: there is no config.json' in text
  assert (
    'config.train.batch_size = 16 in boxing 0, boxing 1; 9 in pong 3' in text
  )


@pytest.mark.parametrize('depth', [*range(900, 1000, 9), 100_000])
def test_configs_and_policies_without_end_are_no_defect(root, capsys, depth):
  workdir = root / 'atari100k' / 'pong' / '0'
  deep = '[' * depth + ']' * depth
  (workdir / 'config.json').write_text(f'{{"seed": 0, "x": {deep}}}')
  line = f'{{"env_steps": 1, "policy": {deep}, "eval/return": 1}}\n'
  (workdir / 'evaluations.jsonl').write_text(line)
  assert call(root, '--tasks=pong') == 0
  assert '| pong | 100,000 | 1 |' in capsys.readouterr().out


def test_runs_of_other_frame_repeats_are_told_apart(root, capsys):
  lines = [line(400_000, 3.0)]
  write_run(root, 'atari100k', 'pong', 2, lines, repeat=1)
  assert call(root, '--tasks=pong') == 0
  text = capsys.readouterr().out
  assert '| pong | 400,000 | 3 |' in text
  assert 'config.env.atari.repeat = 4 in pong 0, pong 1; 1 in pong 2' in text


def test_frames_are_those_that_were_logged(tmp_path):
  lines = [line(10, 1.0) | {'frames': 90}, line(20, 2.0)]
  workdir = write_run(tmp_path, 'atari100k', 'pong', 0, lines)
  run = logs.read(workdir, 'pong')
  assert run.frames.tolist() == [90, 80]
  assert run.last == 90


def test_a_resumed_run_counts_repeated_steps_once(tmp_path):
  lines = [line(10, 1.0), line(20, 2.0), line(30, 3.0), line(20, 5.0)]
  evaluation = {'env_steps': 21, 'eval/return': 9.0}
  workdir = write_run(tmp_path, 'a', 'b', 0, [*lines, evaluation])
  run = logs.read(workdir, 'b')
  assert run.frames.tolist() == [40, 80] and run.returns.tolist() == [1, 5]
  assert run.last == 84


def test_updates_before_the_first_action_are_no_frames(tmp_path):
  lines = [line(110, 1.0) | {'offline/updates': 100, 'offline/env_steps': 10}]
  run = logs.read(write_run(tmp_path, 'a', 'b', 0, lines), 'b')
  assert run.frames.tolist() == [40]


def test_greedy_is_the_last_evaluation_of_the_policy(root, capsys):
  policies = ('trained, greedy', 'trained, sampled')
  for seed, value in ((0, 1.0), (1, 3.0)):
    lines = [
      {'env_steps': steps, 'policy': policy, 'eval/return': value + more}
      for steps, more in ((1, 50), (2, 0))
      for policy in policies
    ]
    file = root / 'atari100k' / 'pong' / str(seed) / 'evaluations.jsonl'
    file.write_text('\n'.join(map(json.dumps, lines)) + '\n')
  assert call(root, '--tasks=pong') == 0
  assert '| 0.5 ± 0.7 | 2.0 ± 1.4 |' in capsys.readouterr().out


def crafter_lines(rate, names=22, count=10):
  logged = {f'n{i}': rate for i in range(names)}
  return [line(1_000_000, 12.0, count, **logged)]


def test_crafter_score_is_over_seeds(tmp_path, capsys):
  options = {'env': 'crafter', 'repeat': 1}
  for seed, rate in enumerate((50, 10)):
    write_run(
      tmp_path, 'crafter', 'reward', seed, crafter_lines(rate), **options
    )
  argv = ['--suite=crafter', f'--root={tmp_path}', '--seeds=2']
  assert table.main(argv) == 0
  text = capsys.readouterr().out
  assert '30.000 (10.000 to 50.000), in percent' in text
  assert '| n21 | 30.0% |' in text
  write_run(tmp_path, 'crafter', 'reward', 2, crafter_lines(100, 9), **options)
  assert table.main(argv) == 0
  text = capsys.readouterr().out
  assert '30.000 (10.000 to 50.000), in percent' in text
  assert 'seed 2: no Crafter score: it logs 9 of 22 achievements' in text


def test_open_suites_show_other_tasks(tmp_path, capsys):
  write_run(tmp_path, 'gymnasium', 'Acrobot-v1', 0, [line(5, -1)], 'gymnasium')
  write_run(tmp_path, 'gymnasium', 'CartPole-v1', 0, [line(5, 9)], 'gymnasium')
  assert table.main(['--suite=gymnasium', f'--root={tmp_path}']) == 0
  text = capsys.readouterr().out
  assert '| Acrobot-v1 | 20 |' in text and '| CartPole-v1 | 20 |' in text
  # Returns of different kinds are not averaged.
  assert '| mean |' not in text


def test_tasks_of_folders_are_named_by_their_configs(tmp_path, capsys):
  for task, named in (('deep_sea/5', True), ('catch/7', False)):
    bsuite = {'repeat': 1, 'task': task} if named else {}
    env = {'name': 'bsuite', 'bsuite': bsuite}
    write_run(tmp_path, 'bsuite', task, 0, [line(5, -1)])
    file = tmp_path / 'bsuite' / task.replace('/', '-') / '0' / 'config.json'
    file.write_text(json.dumps({'env': env}))
  # A config that is not of this folder names another task.
  write_run(tmp_path, 'bsuite', 'catch/8', 0, [line(5, -1)])
  file = tmp_path / 'bsuite' / 'catch-8' / '0' / 'config.json'
  other = {'env': {'name': 'bsuite', 'bsuite': {'task': 'catch/9'}}}
  file.write_text(json.dumps(other))
  assert table.main(['--suite=bsuite', f'--root={tmp_path}']) == 0
  text = capsys.readouterr().out
  assert '| deep_sea/5 | 5 |' in text
  assert '| catch-7 | 5 |' in text and '| catch-8 | 5 |' in text


@pytest.mark.parametrize(
  ('more', 'what'),
  [
    (['--suite=atari10k'], 'Did you mean'),
    (['--tasks=pongg'], "Did you mean 'pong'"),
    (['--tasks=pong,pong'], 'twice'),
    (['--root=nowhere'], 'no such folder'),
    (['--suite=dmc_vision'], 'has no runs of dmc_vision'),
    (['--window=0'], 'above 0'),
    (['--seeds=0'], 'at least 1'),
    (['--frames=-1'], 'above 0'),
    (['--reference=nowhere'], 'has no atari100k-METHOD.json.gz'),
    (['--normalizers=nowhere'], 'No such file'),
    (['--root=gs://a/b'], 'folder of a file system'),
    (['--output=gs://a/b'], 'folder of a file system'),
    (['--reference=gs://a/b'], 'folder of a file system'),
    (['--methods=foo'], 'needs --reference'),
    (['--format=svg'], 'needs --output'),
    (['--suite=dmc_vision', '--normalizers=x'], 'has no normalisers'),
  ],
)
def test_wrong_requests_are_one_message(
  root, tmp_path, monkeypatch, capsys, more, what
):
  monkeypatch.chdir(tmp_path)
  before = sorted(tmp_path.iterdir())
  assert call(root, *more) == 2
  assert sorted(tmp_path.iterdir()) == before
  captured = capsys.readouterr()
  assert what in captured.err and not captured.out
  assert 'Traceback' not in captured.err


def test_broken_reference_is_said(root, tmp_path, capsys):
  write_published(tmp_path / 'r', 'atari100k-dreamerv3', [{'task': 'a'}])
  assert call(root, f'--reference={tmp_path / "r"}') == 2
  assert 'cannot be read as published scores' in capsys.readouterr().err
  (tmp_path / 'r' / 'atari100k-dreamerv3.json.gz').write_text('x')
  assert call(root, f'--reference={tmp_path / "r"}') == 2
  assert 'cannot be read as published scores' in capsys.readouterr().err
  assert call(root, f'--reference={tmp_path / "r"}', '--methods=a') == 2
  assert 'Methods: dreamerv3.' in capsys.readouterr().err


GOOD = {'task': 'atari_pong', 'seed': 0, 'xs': [1e5, 4e5], 'ys': [7, 99]}


@pytest.mark.parametrize(
  'changed',
  [
    {'task': 5},
    {'task': None},
    {'ys': [10**400, 1]},
    {'ys': ['1', '2']},
    {'ys': [True, 1]},
    {'ys': [[1], [2]]},
    {'xs': None},
    {'xs': '12'},
    {'ys': [1]},
  ],
)
def test_records_that_are_no_curves_are_said(root, tmp_path, capsys, changed):
  write_published(tmp_path, 'atari100k-dreamerv3', [GOOD | changed])
  assert call(root, f'--reference={tmp_path}') == 2
  assert 'cannot be read as published scores' in capsys.readouterr().err


def test_records_without_end_are_said(root, tmp_path, capsys):
  data = gzip.compress(b'[' * 200_000)
  (tmp_path / 'atari100k-dreamerv3.json.gz').write_bytes(data)
  assert call(root, f'--reference={tmp_path}') == 2
  assert 'cannot be read as published scores' in capsys.readouterr().err


def test_published_values_that_are_not_finite_are_left_out(tmp_path):
  values = GOOD | {'xs': [1, 2, 3, 4], 'ys': [5, None, float('nan'), 8]}
  write_published(tmp_path, 'atari100k-dreamerv3', [values])
  found = published.read(str(tmp_path), 'atari100k', 'atari_', 'dreamerv3')
  (curve,) = found['dreamerv3']
  assert curve.task == 'pong' and curve.frames.tolist() == [1, 4]
  assert curve.returns.tolist() == [5, 8]


def test_a_file_that_cannot_be_written_leaves_the_one_before(
  root, tmp_path, monkeypatch
):
  out = tmp_path / 'out'
  out.mkdir()
  (out / 'table.md').write_text('before')

  def full(*arguments):
    raise OSError('no space left')

  monkeypatch.setattr(os, 'fsync', full)
  assert call(root, f'--output={out}') == 2
  assert (out / 'table.md').read_text() == 'before'
  assert [path.name for path in out.iterdir()] == ['table.md']
