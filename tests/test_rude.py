"""Whole runs with environments that are wrong, odd or rude."""

import json

import pytest

from dreamer_nnx.training.checkpoint import load_meta
from tests.envs import odd
from tests.launcher import arguments, launch


def flags(workdir, name, **changes):
  tiny = {
    'env__name': 'custom',
    'env__custom__make': f'tests.envs.odd:{name}',
    'train__steps': 20,
    'train__train_ratio': 2.0,
    'evaluate__sampled': False,
    'decoder__simple__units': 8,
    'encoder__simple__units': 8,
    'dynamics__rssm__stochastic__categorical__stoch': 4,
    'dynamics__rssm__stochastic__categorical__classes': 4,
  }
  return arguments(workdir, **(tiny | changes))


@pytest.mark.parametrize(
  'name, message',
  [
    ('FloatImage', "step 0: observation 'image': 0.25 is not in its space Box"),
    ('BrightImage', "step 0: observation 'image': 300 is not in its space Box"),
    ('WrongClass', "'vector': 3 is not in its space Discrete(3)."),
    ('WrongClasses', "'vector': 2 is not in its space MultiDiscrete([2 3])."),
    ('OldStep', 'step 1: step must return 5 values'),
    ('NoReward', 'step 1: the reward must be one number, it is None.'),
    ('Broken', 'step 1: step raised RuntimeError: the engine does not start'),
  ],
)
def test_a_wrong_environment_is_one_message(tmp_path, name, message):
  result = launch(flags(tmp_path / 'run', name))
  assert result.status == 2
  (line,) = result.err.splitlines()
  where = f"config.env.custom.make = 'tests.envs.odd:{name}': environment 0 at "
  assert line.startswith(where) and message in line
  assert {path.name for path in (tmp_path / 'run').glob('*')} <= {
    'evaluations.jsonl'
  }


def test_episodes_cut_by_a_fault_do_not_count(tmp_path):
  # The training environment is made before that of the first evaluation.
  odd.CutOnce.made = -1
  how = {'evaluate__episodes': 3, 'evaluate__envs': 1, 'train__envs': 1}
  result = launch(flags(tmp_path, 'CutOnce', **how))
  assert result.status == 0, result.err
  cut = '; 1 episode was cut by faults and not counted'
  told = 'Return untrained, sampled: 6.00 ± 0.00 over 3 episodes (min 6.00, '
  assert f'{told}max 6.00){cut}' in result.out
  lines = (tmp_path / 'evaluations.jsonl').read_text().splitlines()
  assert json.loads(lines[0])['eval/cut'] == 1


def test_an_evaluation_without_enough_episodes_ends_with_status_1(tmp_path):
  how = {'env__custom__max_restarts': 2, 'evaluate__envs': 1}
  how |= {'train__steps': 2}
  result = launch(flags(tmp_path, 'CutAlways', **how))
  assert result.status == 1
  assert 'no episode was complete; 2 episodes were cut by faults' in result.out
  assert 'The evaluation is incomplete: config.env.custom.make' in result.out
  assert 'crashed 3 times in a row, giving up' in result.out
  assert result.out.splitlines()[-1].endswith(str(tmp_path))
  assert load_meta(tmp_path)['counters']['env_steps'] == 2


def test_an_episode_that_never_ends_is_given_up(tmp_path):
  how = {'evaluate__max_steps': 30, 'train__steps': 2}
  result = launch(flags(tmp_path, 'Endless', **how))
  assert result.status == 1
  assert 'took more than 30 steps (config.evaluate.max_steps)' in result.out
  assert load_meta(tmp_path)['counters']['env_steps'] == 2


@pytest.mark.parametrize('name', ['TwoChannels', 'Frames'])
def test_images_of_any_channels_are_trained_on_and_shown(tmp_path, name):
  result = launch(flags(tmp_path, name, train__report_every=18))
  assert result.status == 0, result.err
  assert list((tmp_path / 'videos').glob('*.gif'))


def test_odd_names_are_trained_on_logged_and_resumed(tmp_path):
  assert launch(flags(tmp_path, 'OddNames')).status == 0
  result = launch(flags(tmp_path, 'OddNames', train__steps=40))
  assert result.status == 0, result.err
  assert 'Resumes from step 20' in result.out
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  logged = set().union(*map(json.loads, lines))
  assert {'episode/log/forces/2/avg', 'episode/log/done/max'} <= logged
  assert {'train/loss/consec', 'train/loss/a|b', 'train/loss/a/b'} <= logged


def test_a_close_that_raises_loses_nothing(tmp_path):
  result = launch(flags(tmp_path, 'ClosesBadly'))
  assert result.status == 0, result.err
  assert 'Return trained, greedy: 6.00' in result.out
  argv = [f'--workdir={tmp_path}', '--mode=evaluate', '--trust_config']
  result = launch(argv)
  assert result.status == 0, result.err
  assert 'Return trained, greedy: 6.00' in result.out


def test_an_environment_that_moves_does_not_move_the_run(tmp_path, monkeypatch):
  for steps in (20, 40):
    monkeypatch.chdir(tmp_path)
    result = launch(flags('run', 'Moves', train__steps=steps))
    assert result.status == 0, result.err
  assert 'Resumes from step 20' in result.out
  assert load_meta(tmp_path / 'run')['counters']['env_steps'] == 40
