"""The files of a run tell whether it is finished."""

import json
import math
import types

import pytest

from dreamer_nnx.errors import UserError
from dreamer_nnx.training import checkpoint_files
from experiments.jobs import runs


def config(steps=100, every=10, stop_at=math.inf, act_async=False):
  section = types.SimpleNamespace
  return section(
    train=section(steps=steps, offline=0, act_async=act_async),
    evaluate=section(every=every, stop_at=stop_at),
  )


def save_meta(folder, counters):
  """Writes of a checkpoint what is looked at, as one by Orbax alone."""
  for item in checkpoint_files.REQUIRED:
    (folder / item).mkdir(parents=True)
  (folder / 'meta' / 'metadata').write_text(json.dumps({'counters': counters}))


def evaluated(folder, *lines):
  text = ''.join(json.dumps(line) + '\n' for line in lines)
  (folder / 'evaluations.jsonl').write_text(text)


def line(env_steps, value, policy='trained, greedy'):
  return {'env_steps': env_steps, 'policy': policy, 'eval/return': value}


@pytest.mark.parametrize('mode', runs.MODES)
def test_a_run_that_has_not_begun_is_not_finished(tmp_path, mode):
  # Returns that are good enough may be below 0.
  for stop_at in (math.inf, 0.0, -200.0):
    assert not runs.finished(tmp_path, config(stop_at=stop_at), mode)


def test_a_good_evaluation_ends_a_run(tmp_path):
  evaluated(tmp_path, line(10, -900.0), line(20, -150.0))
  mode = 'train_and_evaluate'
  assert runs.finished(tmp_path, config(stop_at=-200.0), mode)
  assert not runs.finished(tmp_path, config(stop_at=-100.0), mode)
  # It is not looked at without evaluations while training.
  assert not runs.finished(tmp_path, config(every=0, stop_at=-200.0), mode)


def test_a_run_is_finished_at_its_last_step(tmp_path):
  mode = 'train_and_evaluate'
  evaluated(tmp_path, line(100, 1.0, 'trained, sampled'))
  assert not runs.finished(tmp_path, config(), mode)
  evaluated(tmp_path, line(100, 1.0))
  assert runs.finished(tmp_path, config(), mode)
  assert not runs.finished(tmp_path, config(), 'train')
  (tmp_path / runs.CHECKPOINTS / '100').mkdir(parents=True)
  assert runs.finished(tmp_path, config(), 'train')


@pytest.mark.parametrize('owed', [0, 3])
def test_one_that_owes_updates_is_not_finished(owed, tmp_path):
  folder = tmp_path / runs.CHECKPOINTS
  saved = folder / '100'
  assert not runs.finished(tmp_path, config(act_async=True), 'train')
  counters = {'env_steps': 100} | ({'owed': owed} if owed else {})
  save_meta(saved, counters)
  assert runs.finished(tmp_path, config(act_async=True), 'train') == (not owed)
  # A damaged one is gone on with, which says what is wrong.
  (saved / 'meta' / 'metadata').write_text('{')
  assert not runs.finished(tmp_path, config(act_async=True), 'train')


@pytest.mark.parametrize('value', [None, 'x', math.nan, [9], 10**400, True])
def test_returns_that_are_no_numbers_end_nothing(tmp_path, value):
  mode = 'train_and_evaluate'
  evaluated(tmp_path, line(10, value), line(20, 3.0), line(30, value))
  assert runs.finished(tmp_path, config(stop_at=2.0), mode)
  assert not runs.finished(tmp_path, config(stop_at=4.0), mode)


@pytest.mark.parametrize('text', ['gs://a/b', 's3://a', '~nobody-here/a'])
def test_paths_that_are_no_folders_are_refused(tmp_path, text):
  with pytest.raises(UserError, match='--flag'):
    runs.folder_of(text, '--flag')
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='is no folder'):
    runs.folder_of(str(tmp_path / 'file'), '--flag')
  assert runs.folder_of(str(tmp_path / 'new'), '--flag') == tmp_path / 'new'


def test_a_wrong_request_is_explained_and_a_defect_is_raised(capsys):
  def wrong():
    raise UserError('must be odd.', '--number', 4)

  assert runs.status_of(lambda: 75) == 75
  assert runs.status_of(wrong) == 2
  assert capsys.readouterr().err == '--number = 4: must be odd.\n'
  with pytest.raises(ZeroDivisionError):
    runs.status_of(lambda: 1 // 0)
