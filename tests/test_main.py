"""The launcher: what it prints, and its one clear message for each mistake."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from dreamer_nnx import commandline, main
from dreamer_nnx.errors import UserError
from dreamer_nnx.training.checkpoint import load_meta
from tests.launcher import ROOT, arguments, launch
from tests.proprio import SIZES, write_reference


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A short run, trained and evaluated in this process."""
  workdir = tmp_path_factory.mktemp('trained')
  result = launch([*arguments(workdir), '--config.train.report_every=20'])
  assert result.status == 0, result.err
  return workdir, result


def refused(argv, text):
  """The launch ends with status 2 and one message, and no traceback."""
  result = launch(argv)
  assert result.status == 2, result
  assert re.search(text, result.err), result.err
  assert 'Traceback' not in result.err
  assert len(result.err.strip().splitlines()) <= 13
  return result


def test_trains_evaluates_and_says_where_to_look(trained):
  workdir, result = trained
  assert 'Return untrained, sampled:' in result.out
  assert re.search(r'Return trained, greedy: -?\d+\.\d+ ± ', result.out)
  assert str(workdir) in result.out
  for name in ('metrics.jsonl', 'evaluations.jsonl', 'checkpoints', 'replay'):
    assert (workdir / name).exists(), name
  assert list((workdir / 'videos').glob('*.gif'))


def test_a_path_is_enough_to_evaluate(trained):
  workdir, _ = trained
  before = load_meta(workdir)['counters']
  result = launch([f'--workdir={workdir}', '--mode=evaluate'])
  assert result.status == 0, result.err
  assert 'Return trained, greedy' in result.out
  assert load_meta(workdir)['counters'] == before


def test_evaluating_a_workdir_without_checkpoint_is_refused(tmp_path):
  refused([*arguments(tmp_path), '--mode=evaluate'], 'checkpoint')


def test_same_command_again_trains_no_further(trained):
  workdir, _ = trained
  before = load_meta(workdir)['counters']['updates']
  result = launch(arguments(workdir))
  assert result.status == 0, result.err
  assert 'untrained' not in result.out
  told = 'Resumes from step 60.\n  config.train.report_every: 20 -> 0\nReplay'
  assert told in result.out
  assert 'ompiling' not in result.out
  assert load_meta(workdir)['counters']['updates'] == before


def test_a_resumed_run_says_what_changed_and_keeps_what_it_saved(tmp_path):
  argv = lambda **fields: [*arguments(tmp_path, **fields), '--mode=train']
  assert 'Resumes' not in launch(argv(train__steps=40)).out
  smaller = {'replay__chunked__capacity': 64, 'train__steps': 40}
  result = launch(argv(**smaller))
  told = '\n  config.replay.chunked.capacity: 512 -> 64\n'
  assert f'Resumes from step 40.{told}' in result.out, result
  # Its checkpoint is that of before, and needs as much of the replay.
  result = launch(argv(train__steps=60))
  assert result.status == 0, result.err
  told = '\n  config.train.steps: 40 -> 60\n'
  assert f'Resumes from step 40.{told}' in result.out


def test_show_prints_config_parameters_and_memory(tmp_path):
  result = launch([*arguments(tmp_path), '--mode=show'])
  assert result.status == 0, result.err
  for word in ('"deter": 16', 'dynamics/core/gates/kernel', 'MiB', 'image'):
    assert word in result.out
  assert not list(tmp_path.iterdir())


def test_show_plans_a_mesh_that_is_not_here(tmp_path):
  mesh = ['--config.mesh.data=4', '--config.mesh.fsdp=8']
  argv = [*arguments(tmp_path, train__batch_size=32), *mesh, '--mode=show']
  result = launch(argv)
  assert result.status == 0, result.err
  assert 'on a mesh of data 4, fsdp 8, tensor 1' in result.out
  (row,) = re.findall(r'  dynamics/core/deter_in/linear/kernel +.*', result.out)
  assert row.split()[1:] == ['16x8', 'float32', 'fsdp,-', '64']
  assert (
    'dynamics/core/action_in/linear/kernel (3, 8): inputs 3 over fsdp 8'
    in (result.out)
  )
  (row,) = re.findall(r'.* MiB  one batch', result.out)
  assert 'a device' in result.out and row.count('MiB') == 2


@pytest.fixture(scope='module')
def restored(trained, tmp_path_factory):
  """A run of no update that takes a part of another one."""
  workdir = tmp_path_factory.mktemp('restored')
  result = launch(
    [
      *arguments(workdir, train__steps=2, evaluate__sampled='false'),
      f'--restore={trained[0]}',
      '--restore_include=^(encoder|dynamics|decoder)/',
      '--restore_exclude=^dynamics/core/',
    ]
  )
  assert result.status == 0, result.err
  return workdir, result.out


def test_partial_restore_says_how_much_of_each_module(restored):
  loaded, rest = restored[1].split('Not restored:\n')
  assert re.findall(r'^  .*', loaded, re.M) == [
    '  decoder: 10 of 10 arrays',
    '  dynamics: 10 of 24 arrays',
    '  encoder: 3 of 3 arrays',
  ]
  lines = rest.splitlines()
  assert '  dynamics: 14 of 24 arrays, left out by --restore_exclude' in lines
  policy = '  behavior/policy: 5 of 5 arrays, not matched by --restore_include'
  assert policy in lines
  assert '  updates: 1 of 1 array, not matched by --restore_include' in lines


def test_an_agent_that_was_not_trained_here_is_not_called_so(
  restored, tmp_path
):
  workdir, out = restored
  assert re.findall(r'Return (\w+, \w+)', out) == [
    'restored, sampled',
    'restored, greedy',
  ]
  again = launch([f'--workdir={workdir}', '--mode=evaluate'])
  assert re.findall(r'Return (\w+),', again.out) == ['restored']
  fresh = launch(arguments(tmp_path, train__steps=2))
  assert fresh.status == 0 and 'Return trained' not in fresh.out
  assert len(re.findall('Return untrained', fresh.out)) == 2


def test_an_imported_agent_is_called_so(tmp_path):
  argv = [*arguments(tmp_path / 'run', **SIZES), '--mode=evaluate']
  reference = write_reference(tmp_path / 'log')
  result = launch([*argv, f'--import_reference={reference}'])
  assert result.status == 0, result.err
  assert re.findall(r'Return (\w+),', result.out) == ['imported']


def test_first_and_last_evaluations_reach_the_loggers(tmp_path):
  result = launch(arguments(tmp_path, evaluate__sampled='true'))
  assert result.status == 0, result.err
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  logged = [json.loads(line) for line in lines]
  found = {
    (line['env_steps'], name): line[name]
    for line in logged
    for name in ('eval/return', 'eval_sampled/return')
    if name in line
  }
  lines = (tmp_path / 'evaluations.jsonl').read_text().splitlines()
  first, greedy, sampled = map(json.loads, lines)
  assert found == {
    (0, 'eval_sampled/return'): first['eval/return'],
    (60, 'eval/return'): greedy['eval/return'],
    (60, 'eval_sampled/return'): sampled['eval/return'],
  }
  assert first['policy'] == 'untrained, sampled'
  assert len(sampled['returns']) == 2


def test_length_is_the_same_in_training_and_in_evaluation(trained):
  lines = (trained[0] / 'metrics.jsonl').read_text().splitlines()
  lengths = {
    (name, line[name])
    for line in map(json.loads, lines)
    for name in ('episode/length', 'eval/length')
    if name in line
  }
  # Of every episode, for the game has 8 actions.
  assert lengths == {('episode/length', 8.0), ('eval/length', 8.0)}


def test_the_workdir_says_how_the_run_was_started(tmp_path):
  argv = [*arguments(tmp_path, train__steps=2), '--mode=train']
  assert launch(argv).status == 0
  config = json.loads((tmp_path / 'config.json').read_text())
  assert config == load_meta(tmp_path)['config']
  starts = json.loads((tmp_path / 'run.json').read_text())
  assert [start['env_steps'] for start in starts] == [0]
  assert starts[0]['devices'] == '1 cpu in float32'
  assert launch([f'--workdir={tmp_path}', '--mode=evaluate']).status == 0
  assert json.loads((tmp_path / 'run.json').read_text()) == starts
  assert launch([*argv, '--config.train.steps=4']).status == 0
  again = json.loads((tmp_path / 'run.json').read_text())
  assert again[:-1] == starts and again[-1]['env_steps'] == 2
  config = json.loads((tmp_path / 'config.json').read_text())
  assert config['train']['steps'] == 4


def test_a_start_that_fails_does_not_say_that_it_was_one(trained, tmp_path):
  changes, _ = MISTAKES['memory']
  assert launch([*arguments(tmp_path), *changes]).status == 2
  assert not list(tmp_path.glob('*.json'))


MISTAKES = {
  'wish for a field': (
    ['--steps=100'],
    r'^--steps: there is no such flag. Did you mean --config.train.steps\?$',
  ),
  'wish for the seed': (['--seed', '1'], r'--seed: .* mean --config.seed\?'),
  'wish for what is chosen': (
    ['--lr=1'],
    r'--lr: .* mean --config.optimizer.dreamer.lr\?',
  ),
  'wish by another name': (
    ['--learning_rate=1'],
    r'--learning_rate: .* mean --config.optimizer.dreamer.lr\?',
  ),
  'wish for a component': (
    ['--env=catch'],
    r'--env: .* mean --config.env.name=catch\?',
  ),
  'wish for a section': (
    ['--replay=big'],
    r'--replay: .* mean --config.replay.name\?',
  ),
  'wish for what is not chosen': (
    ['--env_id=CartPole-v1'],
    r'mean --config.env.gymnasium.id, with --config.env.name=gymnasium\?',
  ),
  'wish misspelt': (['--stesp=3'], r'mean --config.train.steps\?'),
  'wish with its section': (
    ['--train_steps=4'],
    r'--train_steps: .* mean --config.train.steps\?',
  ),
  'wish for a logger': (
    ['--wandb'],
    r'mean --config.loggers.names=terminal,jsonl,wandb\?',
  ),
  'wish for a section, misspelt': (
    ['--logger=tensorboard'],
    r'mean --config.loggers.names=tensorboard\?',
  ),
  'nothing alike': (['--plasmid=x'], r'^--plasmid: [^?]* --help lists all'),
  'wish for a device': (['--gpu'], r'mean the environment variable JAX_PLAT'),
  'no dashes': (['config.seed=3'], r'mean --config.seed=3\?'),
  'end of flags': (['--', '--config.seed=3'], r'^--: nothing is read after'),
  'tag': (['--config.loggers.name=terminal'], r"Did you mean 'names'\?"),
  'capitals': (['--config.TRAIN.steps=3'], r"Did you mean 'train'\?"),
  'size in capitals': (['--config=configs/demo.py:1M'], r"mean '1m'\?"),
  'flag of others': (['--logdir=x'], r'--logdir: .* mean --workdir\?'),
  'flag of absl': (['--log_dir=x'], r'--log_dir: .* mean --workdir\?'),
  'nothing like it': (['--xyzzy'], r'--xyzzy: .* --help lists all'),
  'no flag': (['configs/demo.py'], r'mean --config=configs/demo.py\?'),
  'name of a config': (['demo:12m'], r'mean --config=demo:12m\?'),
  'not chosen': (
    ['--config.env.gymnasium.id=CartPole-v1'],
    r"^config.env.gymnasium.id: 'gymnasium' is not chosen. Set "
    r'--config.env.name=gymnasium, too\.$',
  ),
  'logger not chosen': (
    ['--config.loggers.wandb.project=x'],
    r"Set --config.loggers.names='terminal,jsonl,wandb', too\.$",
  ),
  'seed': (
    ['--config.seed=-1'],
    r'^config.seed = -1: must be at least 0 and at most 4294967295\.$',
  ),
  'best metric': (
    ['--config.checkpoint.best_metric=eval/score'],
    r"config.checkpoint.best_metric = 'eval/score': must be one of 'eval/",
  ),
  'contradiction': (
    ['--config.mesh.data=-1', '--config.mesh.fsdp=-1'],
    r'config.mesh: more than one of data, fsdp, tensor is -1',
  ),
  'filter': (['--restore_include=x'], r'^--restore_include: .* --restore=RUN'),
  'empty path': (['--restore='], r'^--restore: is empty'),
  'trust': (['--trust_config'], r'^--trust_config: the config is that of --co'),
  'status': (['--stopped_status=256'], r'stopped_status'),
  'name': (
    ['--config.encoder.name=simpel'],
    r"config\.encoder\.name = 'simpel': no encoder has this name. "
    r"Did you mean 'simple'\?",
  ),
  'field': (
    ['--config.encoder.simple.kernal=3'],
    r'config\.encoder\.simple\.kernal: SimpleEncoder has no such field. Did '
    r"you mean 'kernel'\?",
  ),
  'type': (
    ['--config.optimizer.dreamer.lr=fast'],
    r"config\.optimizer\.dreamer\.lr = 'fast': must be a float",
  ),
  'float for int': (
    ['--config.seed=1e6'],
    r"config\.seed = '1e6': must be an int",
  ),
  'section': (['--config.trian.steps=3'], r'config\.trian.*Did you mean'),
  'flag': (['--wrokdir=x'], r"--wrokdir.*Did you mean '--workdir'\?"),
  'mode': (['--mode=trian'], r'mode'),
  'size': (
    ['--config=configs/demo.py:13m'],
    r"size = '13m'.*Known: 1m, 12m, 25m",
  ),
  'file': (['--config=configs/dmeo.py'], r"there is no file 'configs/dmeo.py'"),
  'plugin': (
    ['--config.plugins=no_such_module'],
    r"config\.plugins: 'no_such_module'",
  ),
  'image size': (
    ['--config.env.track.size=24', '--config.encoder.simple.mults=(2,2,2,2)'],
    r"4 halvings must leave .* each image: 'image' has 24x24 \(48x48 would do",
  ),
  'steps': (['--config.train.steps=0'], r'config\.train\.steps = 0'),
  'memory': (
    [
      '--config.replay.chunked.capacity=900000000000',
      '--config.train.steps=900000000000',
      '--config.replay.chunked.storage=memory',
    ],
    r'capacity: \d+ steps need .* of memory, .* The largest that fits',
  ),
  'restore': (['--restore=/nowhere/to/be/found'], r'/nowhere/to/be/found'),
  'regular expression': (
    ['--restore={trained}', '--restore_include=('],
    r'restore_include',
  ),
  'reference': (['--import_reference=/nowhere'], r'/nowhere'),
}


IDLE = ['--restore=x', '--restore_include=x', '--restore_exclude=x']
IDLE += ['--restore_again', '--profile', '--scratch=x', '--stopped_status=3']
IDLE = [(flag, mode) for flag in IDLE for mode in ('evaluate', 'show')]


@pytest.mark.parametrize(
  'flag, mode', [*IDLE, ('--import_reference=x', 'show')]
)
def test_a_flag_without_effect_in_a_mode_is_refused(flag, mode, tmp_path):
  name = flag.partition('=')[0]
  argv = [*arguments(tmp_path), flag, f'--mode={mode}']
  refused(argv, f'^{name}: has no effect .*(Leave it out|Name that run)')


@pytest.mark.parametrize(
  'mode', ['train', 'show', 'list', 'check_env', 'play', 'report']
)
def test_recording_is_refused_where_nothing_is_evaluated(mode):
  with pytest.raises(UserError, match=f'^--record: .*--mode={mode} makes none'):
    commandline.check_flags(mode, ['record'], in_bucket=False)


@pytest.mark.parametrize('mode', ['evaluate', 'train_and_evaluate', 'check'])
def test_recording_goes_with_evaluations_and_their_check(mode):
  assert commandline.check_flags(mode, ['record'], in_bucket=True) is None


def test_a_flag_of_a_step_without_effect_is_refused(tmp_path):
  argv = [*arguments(tmp_path), '--restore_step=3', '--mode=show']
  refused(argv, '^--restore_step: has no effect')


@pytest.mark.parametrize('flag', ['--help', '-h', '--helpfull'])
def test_help_is_no_failure(flag):
  result = launch([flag])
  assert result.status == 0
  for word in ('--mode=show', '--workdir:', '--config.seed=1'):
    assert word in result.out, word
  assert ('absl' in result.out) == (flag == '--helpfull')


def test_a_failed_start_leaves_no_workdir(tmp_path):
  changes, text = MISTAKES['memory']
  refused([*arguments(tmp_path / 'a' / 'b'), *changes], text)
  assert not list(tmp_path.iterdir())


def test_changes_that_a_run_cannot_go_on_with_are_refused_by_path(trained):
  workdir, _ = trained
  kept = ('.lock', 'run.json', 'config.json')
  state = lambda: {
    path: path.read_bytes()
    for path in workdir.rglob('*')
    if path.is_file() and path.name not in kept
  }
  before = state()
  refused(
    arguments(workdir, env__name='catch'),
    "^config.env.name = 'catch': the run was begun with 'track'",
  )
  refused(
    arguments(workdir, env__track__size=16),
    r"^config.env.track.size = 16: observation 'image' is Box\(16, 16, 3\)",
  )
  refused(
    arguments(workdir, optimizer__name='adamw'),
    r"\n  config.optimizer.name: 'dreamer' -> 'adamw'\n",
  )
  refused(
    arguments(workdir, replay__chunked__chunk_size=8),
    r'\n  config.replay.chunked.chunk_size: 32 -> 8\n',
  )
  assert state() == before


def test_the_console_script_finds_plugins_in_the_current_folder(tmp_path):
  (tmp_path / 'nearby.py').write_text("print('found')")
  code = 'import sys; from dreamer_nnx.main import run; sys.exit(run())'
  argv = ['--config.plugins=nearby', '--config=nowhere.py']
  # Without -P the current folder would be looked into anyway.
  done = subprocess.run(
    [sys.executable, '-P', '-c', code, *argv],
    cwd=tmp_path,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.stdout == 'found\n'
  assert done.returncode == 2
  assert "there is no file 'nowhere.py'" in done.stderr


def test_a_current_folder_that_is_gone_is_one_message(
  tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  folder = tmp_path / 'gone'
  folder.mkdir()
  os.chdir(folder)
  folder.rmdir()
  with pytest.raises(SystemExit) as exit:
    main.run()
  assert exit.value.code == 2
  assert capsys.readouterr().err.startswith('The current folder has been del')


def test_paths_are_those_of_the_start(tmp_path, monkeypatch):
  """Whatever an environment or a plugin does to the current folder."""
  here, there = tmp_path / 'here', tmp_path / 'there'
  here.mkdir()
  there.mkdir()
  (here / 'leaving.py').write_text(f'import os\nos.chdir({str(there)!r})')
  demo = (ROOT / 'configs' / 'demo.py').read_text('utf-8')
  (here / 'my.py').write_text(demo)
  monkeypatch.chdir(here)
  monkeypatch.syspath_prepend(here)
  argv = arguments('run', train__steps=2)[1:]
  more = ['--config=my.py', '--config.plugins=leaving', '--mode=train']
  result = launch([*argv, *more])
  assert result.status == 0, result.err
  assert sorted(path.name for path in tmp_path.iterdir()) == ['here', 'there']
  assert not list(there.iterdir())
  assert (here / 'run' / 'checkpoints' / '2').is_dir()


@pytest.mark.parametrize('mistake', MISTAKES)
def test_mistake_is_one_message_and_status_2(mistake, trained, tmp_path):
  changes, text = MISTAKES[mistake]
  changes = [change.format(trained=trained[0]) for change in changes]
  refused([*arguments(tmp_path), *changes], text)


@pytest.mark.parametrize(
  ('fields', 'text'),
  [
    (
      {'env__name': 'gymnasium', 'env__gymnasium__id': 'CartPol-v1'},
      'CartPol.*Did you mean',
    ),
    ({'env__name': 'tests.envs.games:text'}, 'Text'),
  ],
)
def test_mistake_about_an_environment_is_one_message(fields, text, tmp_path):
  refused(arguments(tmp_path, **fields), text)


def test_missing_config_is_asked_for():
  refused([], r'--config: name a config file')


def test_a_config_is_asked_for_where_the_workdir_is_new(tmp_path):
  refused([f'--workdir={tmp_path}/new'], '^--config: name a config file; .*new')
  refused(['--steps=3'], '^--steps: there is no such flag')
  assert not list(tmp_path.iterdir())


def test_unwritable_workdir_is_named(tmp_path):
  file = tmp_path / 'taken'
  file.write_text('a file, not a folder')
  refused(arguments(file / 'run'), str(file))


def test_checkpoint_of_another_size_is_refused(trained):
  workdir, _ = trained
  refused(
    arguments(workdir, dynamics__rssm__deter=24),
    r'(?s)checkpoint step \d+ does not fit:.*, this config builds.*changed\?'
    r'.*\n  config.dynamics.rssm.deter: 16 -> 24\n',
  )


def test_damaged_chunk_is_named_and_can_be_left_out(tmp_path):
  assert launch([*arguments(tmp_path), '--mode=train']).status == 0
  chunk = sorted((tmp_path / 'replay').glob('*.data'))[0]
  chunk.write_bytes(chunk.read_bytes()[:-20])
  again = [*arguments(tmp_path, train__steps=64), '--mode=train']
  refused(again, rf'{chunk.name}.*skip_damaged=true')
  result = launch([*again, '--config.replay.chunked.skip_damaged=true'])
  assert result.status == 0, result.err


def test_configs_all_resolve():
  for path in sorted(pathlib.Path(ROOT / 'configs').glob('*.py')):
    # test_sizes.py builds what they describe.
    result = launch([f'--config={path}', '--mode=list', '--slot=train'])
    assert result.status == 0, (path, result.err)


def test_one_checkpoint_can_be_evaluated_by_path_or_step(trained):
  workdir, _ = trained
  step = load_meta(workdir)['counters']['env_steps']
  for argv in (
    [f'--workdir={workdir}/checkpoints/{step}'],
    [f'--workdir={workdir}', f'--restore_step={step}'],
  ):
    before = sorted((workdir / 'checkpoints').rglob('*'))
    result = launch([*argv, '--mode=evaluate'])
    assert result.status == 0, result.err
    assert f'checkpoints: {workdir}' in result.out
    assert sorted((workdir / 'checkpoints').rglob('*')) == before
  refused(
    [f'--workdir={workdir}', '--mode=evaluate', '--restore_step=7'],
    'holds no checkpoint step 7',
  )
