"""Sweeps: what is planned, refused, made, skipped and reported."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest

from dreamer_nnx import launcher_flags
from dreamer_nnx.errors import UserError
from experiments import sweep
from experiments.jobs import runs
from experiments.jobs.launching import ROOT, STOPPED
from experiments.jobs.made import wait_for
from experiments.sweeps import made, plan, table
from tests.launcher import CACHE, TINY
from tests.plain import CACHED, PLAIN

RATES = f'--set={made.FIELD}=1e-3,3e-3'
STEPS = '--config.train.steps=60'


@pytest.fixture
def fake(monkeypatch):
  """Runs that train nothing, and a report that has their names."""
  modes = (*launcher_flags.MODES, 'report')
  monkeypatch.setattr(launcher_flags, 'MODES', modes)
  monkeypatch.setattr(runs, 'command', made.command)
  monkeypatch.setattr(table, 'report_command', made.report_command)


def options(root, *more, seeds='0,1', flags=(STEPS,)):
  argv = [f'--root={root}', '--config=demo', f'--seeds={seeds}', *more]
  return [*argv, '--', *flags]


def test_combinations():
  two = {'config.a.lr': ('1', '2'), 'config.b.lr': ('(2,3)', "'x/y z'")}
  found = dict(plan.combinations(two))
  assert list(found) == [
    'a.lr=1,b.lr=2-3',
    'a.lr=1,b.lr=x-yz',
    'a.lr=2,b.lr=2-3',
    'a.lr=2,b.lr=x-yz',
  ]
  assert found['a.lr=2,b.lr=2-3'] == ('--config.a.lr=2', '--config.b.lr=(2,3)')
  assert dict(plan.combinations({})) == {'plain': ()}
  with pytest.raises(UserError, match='two combinations'):
    list(plan.combinations({'config.a': ('1/2', '1-2')}))


def test_names_are_as_short_as_they_differ():
  fields = 'config.a.x.units', 'config.a.y.units', 'config.units', 'config.lr'
  names = plan.short_names(fields)
  assert list(names.values()) == ['x.units', 'y.units', 'config.units', 'lr']


def test_values_are_split_outside_of_brackets():
  found = plan.varied(['config.a=(2,3),(4,)', 'config.b.c="x,y",z'])
  assert found == {'config.a': ('(2,3)', '(4,)'), 'config.b.c': ('"x,y"', 'z')}


def test_list(tmp_path, capsys):
  root = tmp_path / 'runs'
  assert sweep.main(options(root, RATES, '--list')) == 0
  lines = capsys.readouterr().out.splitlines()
  assert not root.exists()
  assert lines[::2] == [
    '0 lr=1e-3/0: not begun',
    '1 lr=3e-3/0: not begun',
    '2 lr=1e-3/1: not begun',
    '3 lr=3e-3/1: not begun',
  ]
  words = shlex.split(lines[-1])
  assert words[1:3] == ['-m', 'dreamer_nnx.main']
  assert words[3:] == [
    '--config=demo',
    f'--workdir={root}/lr=3e-3/1',
    '--mode=train_and_evaluate',
    '--stopped_status=75',
    STEPS,
    f'--{made.FIELD}=3e-3',
    '--config.seed=1',
  ]


@pytest.mark.parametrize(
  ('more', 'flags', 'what'),
  [
    (['--set=config.train.stepz=1,2'], [], "Did you mean 'steps'"),
    (['--set=config.train.steps=1,x'], [], 'config.train.steps'),
    (['--set=config.train.steps=1,-1'], [], 'config.train.steps'),
    (['--set=config.optimizer.lion.lr=1,2'], [], "'lion' is not chosen"),
    (['--set=train.steps=1,2'], [], 'must be config.PATH=VALUE,VALUE'),
    (['--set=config.train.steps'], [], 'must be config.PATH=VALUE,VALUE'),
    (['--set=config.train.steps=1,'], [], 'a value is empty'),
    (['--set=config.train.steps=1,1'], [], 'a value is there twice'),
    (['--set=config.train.steps=10,010'], [], 'are the same'),
    (['--set=config.train.steps=1'] * 2, [], 'is varied twice'),
    (['--set=config.seed=1,2'], [], 'is set by --seeds'),
    ([], ['--config.seed=1'], 'is set by --seeds'),
    ([RATES], [f'--{made.FIELD}=1.0'], 'is set by --set'),
    ([], ['--workdir=x'], 'is set by --root'),
    ([], ['--mode=show'], 'is set by --mode'),
    ([], ['--stopped_status=3'], 'is set for every run'),
    ([], ['--num_processes=2'], 'is for several processes'),
    ([], ['--restore_include=x'], 'which is not given'),
    ([], ['--restore_step=x'], '--restore_step'),
    ([], ['--profil'], "Did you mean '--profile'"),
    (['--config=nothing'], [], 'no config of this name'),
    (['--seeds=0,x'], [], 'must be numbers'),
    (['--seeds=1,1'], [], 'a seed is there twice'),
    (['--parallel=0'], [], 'at least 1'),
    (['--root=gs://a/b'], [], 'folder of a file system'),
    (['--index=2'], [], 'must be below 2'),
    (['--config=crafter'], ['--config.env.crafter.results=x'], 'Leave it out'),
    (
      ['--config=demo'],
      [
        '--config.env.name=tests.envs.games:noted',
        '--config.env.noted.results=x',
      ],
      "config.env.noted.results = 'x': is one folder",
    ),
  ],
)
def test_wrong_requests_start_nothing(
  fake, tmp_path, capsys, more, flags, what
):
  root = tmp_path / 'runs'
  assert sweep.main(options(root, *more, flags=flags)) == 2
  assert what in capsys.readouterr().err
  assert not list(root.glob('*/*'))


def test_unknown_options_are_refused(tmp_path, capsys):
  with pytest.raises(SystemExit, match='2'):
    sweep.main([f'--root={tmp_path}', '--config=demo', STEPS])
  assert 'come after --' in capsys.readouterr().err
  assert sweep.main([f'--root={tmp_path}', '--seeds=1']) == 2
  assert sweep.main([f'--root={tmp_path}']) == 2
  assert 'has no plan yet' in capsys.readouterr().err


def test_all_are_made_once_and_reported(fake, tmp_path, capsys):
  argv = options(tmp_path, RATES, '--parallel=2')
  assert sweep.main(argv) == 0
  out = capsys.readouterr().out
  assert '4 of 4 runs are finished, 0 failed.' in out
  row = '| `lr=3e-3` | 2 of 2 | 0 | 60 | 3.5 ± 0.5 | 35.0 ± 5.0 |'
  assert row in out and row in (tmp_path / 'table.md').read_text()
  report = tmp_path / 'report.html'
  names = 'lr=1e-3/0 lr=3e-3/0 lr=1e-3/1 lr=3e-3/1'
  assert report.read_text() == names and str(report) in out
  report.write_text('kept')
  # The plan is known.
  for again in (argv, [f'--root={tmp_path}']):
    assert sweep.main(again) == 0
    out = capsys.readouterr().out
    assert out.count('is finished.') == 4 and 'begins' not in out
  assert report.read_text() == 'kept'


def test_a_failure_is_reported_and_tried_again(fake, tmp_path, capsys):
  varied = f'--set={made.FIELD}={made.BAD},1e-3'
  for _ in range(2):
    assert sweep.main(options(tmp_path, varied)) == 1
    out = capsys.readouterr().out
    assert '2 of 4 runs are finished, 2 failed.' in out
    assert 'lr=7.0/1: failed with status 1; the end of' in out
    assert '  line 98\n  no luck\n' in out and 'line 80' not in out
    assert '| `lr=7.0` | 0 of 2 | 2 | – | – | – |' in out
    assert '| `lr=1e-3` | 2 of 2 | 0 | 60 | 1.5 ± 0.5 |' in out
  assert (tmp_path / 'report.html').read_text() == 'lr=1e-3/0 lr=1e-3/1'


def test_a_report_that_fails_is_told(fake, tmp_path, capsys, monkeypatch):
  command = lambda *_: made.command('', tmp_path, '', [])
  monkeypatch.setattr(table, 'report_command', command)
  assert sweep.main(options(tmp_path, RATES)) == 1
  assert 'the report: failed with status 1' in capsys.readouterr().out


def test_runs_can_be_added_and_nothing_else_changed(fake, tmp_path, capsys):
  assert sweep.main(options(tmp_path, RATES)) == 0
  before = (tmp_path / plan.FILE).read_text()
  for more, what in (
    ({'flags': ['--config.train.steps=70']}, 'has another plan: flags'),
    ({'seeds': '0'}, '2 runs that are not asked for: lr=1e-3/1'),
  ):
    assert sweep.main(options(tmp_path, RATES, **more)) == 2
    assert what in capsys.readouterr().err
  for changed in ('--mode=train', '--config=cartpole'):
    assert sweep.main(options(tmp_path, RATES, changed)) == 2
    assert 'has another plan' in capsys.readouterr().err
  assert (tmp_path / plan.FILE).read_text() == before
  more = f'--set={made.FIELD}=1e-3,2e-3,3e-3'
  assert sweep.main(options(tmp_path, more, seeds='0,1,2')) == 0
  out = capsys.readouterr().out
  assert out.count('is finished.') == 4 and out.count(': finished.') == 5
  found = json.loads((tmp_path / plan.FILE).read_text())
  old = json.loads(before)
  # Indices stay.
  assert found['runs'][:4] == old['runs'] and len(found['runs']) == 9


@pytest.mark.parametrize('text', ['[]', '{', '{"format": 2}', '{"format": 1}'])
def test_a_plan_that_is_none_is_refused(tmp_path, capsys, text):
  (tmp_path / plan.FILE).write_text(text)
  assert sweep.main(options(tmp_path, RATES)) == 2
  assert plan.FILE in capsys.readouterr().err


def script_of(root, *more):
  argv = options(root, RATES, '--backend=slurm', *more)
  assert sweep.main(argv) == 0
  file = root / 'sweep.sbatch'
  assert subprocess.run(['bash', '-n', file], check=False).returncode == 0
  text = file.read_text()
  return text, dict(re.findall(r'^#SBATCH --([\w-]+)=(.+)$', text, re.M))


def submitted(text, index, status, folder):
  """Words that an array task gives to srun, and whether it is queued again."""
  stubs = f"""
srun() {{ printf '%s\\n' "$PYTHONPATH" "$@" > words; return {status}; }}
scontrol() {{ echo "$@"; }}
"""
  done = subprocess.run(
    ['bash'],
    input=text.replace('set -euo', f'{stubs}\nset -euo', 1),
    env={'SLURM_JOB_ID': '7', 'SLURM_ARRAY_TASK_ID': str(index)},
    cwd=folder,
    text=True,
    capture_output=True,
    check=False,
  )
  assert done.returncode == status, done.stderr
  words = (folder / 'words').read_text().splitlines()
  return words, done.stdout == 'requeue 7\n'


def test_tasks_of_slurm_pick_their_run(fake, tmp_path, capsys, monkeypatch):
  root, folder = tmp_path / 'it is', tmp_path / "here's"
  folder.mkdir()
  monkeypatch.chdir(folder)
  text, options = script_of(root, '--cpus=3', '--time=2:00:00')
  assert options['array'] == '0,1,2,3' and options['cpus-per-task'] == '3'
  assert options['time'] == '2:00:00' and options['signal'] == 'TERM@120'
  assert 'gpus-per-task' not in options
  assert options['output'] == f"'{root}/slurm-%A_%a.log'"
  for index in range(4):
    (path, *words), again = submitted(text, index, 0, folder)
    assert path == str(ROOT) and not again
    assert words[1:3] == ['-m', 'experiments.sweep']
    assert sweep.main(words[3:]) == 0
    assert (root / 'report.html').exists() == (index == 3)
    if index == 1:
      more = script_of(root, '--gpus=1', '--parallel=1')[1]
      assert more['array'] == '2,3%1' and more['gpus-per-task'] == '1'
  assert submitted(text, 0, 75, folder)[1]
  assert not submitted(text, 0, 1, folder)[1]
  capsys.readouterr()
  (root / 'sweep.sbatch').unlink()
  assert sweep.main([f'--root={root}', '--backend=slurm']) == 0
  assert '| `lr=1e-3` | 2 of 2 |' in capsys.readouterr().out
  assert not (root / 'sweep.sbatch').exists()


REAL = TINY | {
  'compilation_cache': CACHE,
  'config.train.steps': 200,
  'config.train.save_every': 20,
  'config.train.train_ratio': 4.0,
  'config.train.log_every': 10,
  'config.evaluate.sampled': 'false',
}
LONG = 1_800


@pytest.mark.slow
@pytest.mark.whole
def test_a_real_sweep_goes_on_after_it_was_stopped_and_killed(tmp_path):
  flags = [f'--{name}={value}' for name, value in REAL.items()]
  argv = options(tmp_path, RATES, '--parallel=2', seeds='0,1,2', flags=flags)
  command = [sys.executable, '-m', 'experiments.sweep', *argv]
  how = {'cwd': ROOT, 'env': os.environ | PLAIN | CACHED}
  folders = [tmp_path / f'lr=1e-3/{seed}' for seed in range(3)]
  for folder, number, status in (
    (folders[0], signal.SIGTERM, STOPPED),
    (folders[1], signal.SIGKILL, -signal.SIGKILL),
  ):
    process = subprocess.Popen(command, **how)
    saved = folder / 'checkpoints' / '20'
    wait_for(saved.exists, process, LONG)
    process.send_signal(number)
    assert process.wait(LONG) == status
  before = (tmp_path / plan.FILE).read_text()
  # Two at the same time make no run twice.
  both = [
    subprocess.Popen(command, **how, text=True, stdout=subprocess.PIPE)
    for _ in range(2)
  ]
  for process in both:
    text, _ = process.communicate(timeout=LONG)
    assert process.returncode == 0, text
    assert '6 of 6 runs are finished, 0 failed.' in text
    for rate in ('1e-3', '3e-3'):
      assert f'| `lr={rate}` | 3 of 3 | 0 | 200 | ' in text
  starts = [json.loads((x / 'run.json').read_text()) for x in folders]
  # Those that were ended went on from what they had saved.
  assert [len(x) for x in starts] == [2, 2, 1]
  assert all(x[-1]['env_steps'] >= 20 for x in starts[:2])
  assert (tmp_path / plan.FILE).read_text() == before
  reported = 'report' in launcher_flags.MODES
  assert (tmp_path / table.REPORT).exists() == reported
