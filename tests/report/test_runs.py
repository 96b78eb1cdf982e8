"""Files of a workdir, as they are, damaged, and missing."""

import json
import os

import numpy as np
import pytest

from dreamer_nnx import paths
from dreamer_nnx.errors import UserError
from dreamer_nnx.report import runs
from tests.report import made


def test_a_run_is_read(tmp_path):
  workdir = made.write(
    tmp_path / 'a',
    made.lines(5, repeat=4),
    [made.evaluation(50, 7.0)],
    made.config(),
  )
  (workdir / 'run.json').write_text('[{"commit": "abc"}, 3]')
  run = runs.read(workdir, 'a')
  assert run.config['optimizer.dreamer.lr'] == 4e-5
  assert run.log.curves['episode/return'].count == 5
  assert run.evaluations.curves['eval/return'].points(8).values.tolist() == [7]
  assert run.repeat == 4 and run.starts == [{'commit': 'abc'}]
  assert run.problems == []


def test_a_workdir_must_be_there(tmp_path):
  missing = tmp_path / 'none'
  with pytest.raises(UserError, match=f'{missing}.*: does not exist'):
    runs.read(missing, 'none')
  (tmp_path / 'file').touch()
  with pytest.raises(UserError, match='is no folder'):
    runs.read(tmp_path / 'file', 'file')


def test_an_empty_folder_is_no_workdir(tmp_path):
  with pytest.raises(UserError, match='has none of metrics'):
    runs.read(tmp_path, 'x')


def test_a_run_without_a_log_says_so(tmp_path):
  made.write(tmp_path, settings=made.config())
  run = runs.read(tmp_path, 'x')
  assert 'no metrics.jsonl' in run.problems[0] and not run.log.curves
  assert run.repeat == 1


@pytest.mark.parametrize('text', ['{"a": ', '[]', '"x"', '[' * 100_000, '\0'])
def test_a_damaged_config_is_left_out(tmp_path, text):
  made.write(tmp_path, made.lines(1))
  (tmp_path / 'config.json').write_text(text)
  run = runs.read(tmp_path, 'x')
  assert run.config == {} and 'config.json' in run.problems[0]


def test_a_config_of_many_fields_is_left_out(tmp_path):
  fields = {str(i): i for i in range(runs.FIELDS + 1)}
  made.write(tmp_path, made.lines(1), settings=fields)
  assert runs.read(tmp_path, 'x').config == {}


@pytest.mark.parametrize('name', ['metrics.jsonl', 'config.json'])
def test_a_file_from_elsewhere_is_refused(tmp_path, name):
  workdir = made.write(tmp_path / 'a', made.lines(1), None, made.config())
  (workdir / name).rename(tmp_path / name)
  (workdir / name).symlink_to(tmp_path / name)
  with pytest.raises(paths.PathError, match='outside'):
    runs.read(workdir, 'a')


def test_what_is_no_file_is_never_opened(tmp_path):
  made.write(tmp_path, None, None, made.config())
  os.mkfifo(tmp_path / 'metrics.jsonl')
  assert not runs.read(tmp_path, 'x').log.curves


def test_evaluations_are_put_in_order_and_the_last_of_a_step_holds(tmp_path):
  evaluations = [
    made.evaluation(20, 2.0),
    made.evaluation(10, 1.0),
    made.evaluation(20, 3.0),
    made.evaluation(20, 9.0, 'trained, sampled'),
    {'env_steps': 'x', 'policy': 'trained, greedy'},
    {'env_steps': 1, 'policy': ['greedy']},
    made.evaluation(30, 4.0) | {'problem': 'cut'},
  ]
  made.write(tmp_path, made.lines(1), evaluations)
  run = runs.read(tmp_path, 'x')
  steps, values = run.evaluations.curves['eval/return'].points(100)
  assert steps.tolist() == [10, 20, 30] and values.tolist() == [1, 3, 4]
  sampled = run.evaluations.curves['eval_sampled/return']
  assert sampled.points(8).values.tolist() == [9]
  assert run.problems == [
    '1 evaluations are incomplete.',
    '2 damaged lines of evaluations.jsonl were left out.',
  ]


def test_evaluations_of_several_files_are_joined(tmp_path):
  made.write(tmp_path, made.lines(1), [made.evaluation(10, 1.0)])
  other = tmp_path / 'evaluations_1700000000000.jsonl'
  made.write_lines(other, [made.evaluation(20, 2.0)])
  curve = runs.read(tmp_path, 'x').evaluations.curves['eval/return']
  np.testing.assert_array_equal(curve.points(8).values, [1, 2])


def test_damaged_lines_are_said(tmp_path):
  made.write(tmp_path, made.lines(2))
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write(json.dumps({'env_steps': 30, 'a': 'x'}) + '\n{"env')
  assert runs.read(tmp_path, 'x').problems == [
    '1 damaged lines of metrics.jsonl were left out.',
    '1 values in metrics.jsonl are no numbers and were left out.',
  ]


def test_names_are_the_ends_that_tell_paths_apart(tmp_path):
  of = lambda *names: runs.names([tmp_path / name for name in names])
  assert of('a/0', 'a/1') == ['0', '1']
  assert of('a/0', 'b/0') == ['a/0', 'b/0']
  assert of('a') == ['a']


def test_a_workdir_that_is_named_twice_is_read_once(tmp_path):
  made.write(tmp_path, made.lines(1))
  assert len(runs.read_all([tmp_path, tmp_path])) == 1
