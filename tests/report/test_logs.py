"""The log of a run, and logs that are not as a run writes them."""

import json

import numpy as np
import pytest

from dreamer_nnx.report import logs
from dreamer_nnx.report.logs import Log, Spoilt
from tests.report import made


def log_of(*lines):
  log = Log()
  for line in lines:
    log.add(line)
  return log


def values(log, name):
  return log.curves[name].points(100).values.tolist()


def test_numbers_become_curves_by_name():
  log = log_of({'env_steps': 1, 'a': 2}, {'env_steps': 5, 'a': 3.5, 'b': 1})
  assert log.curves.keys() == {'a', 'b'}
  assert values(log, 'a') == [2, 3.5]
  np.testing.assert_array_equal(log.curves['a'].points(9).steps, [1, 5])
  assert (log.lines, log.last, log.damaged, log.refused) == (2, 5, 0, 0)


@pytest.mark.parametrize(
  'step', ['1', 1.5, None, True, -1, 2**60, float('nan'), [1]]
)
def test_a_line_without_a_step_is_damaged(step):
  log = log_of({'env_steps': step, 'a': 1}, {'a': 2})
  assert log.damaged == 2 and not log.curves


@pytest.mark.parametrize('value', ['3', True, [1.0], {'b': 1}])
def test_what_is_no_number_is_refused(value):
  log = log_of({'env_steps': 1, 'a': value, 'b': 1})
  assert log.refused == 1 and values(log, 'b') == [1]


@pytest.mark.parametrize(
  'value', [None, float('nan'), float('inf'), -float('inf'), 10**400, -1e250]
)
def test_what_is_not_finite_is_told_by_name(value):
  log = log_of({'env_steps': 4, 'a': value}, {'env_steps': 6, 'a': value})
  assert log.spoilt == {'a': Spoilt(2, 4)} and not log.curves


def test_literals_that_json_does_not_have_are_not_finite(tmp_path):
  path = tmp_path / 'x'
  path.write_text('{"env_steps": 1, "a": NaN, "b": -Infinity, "c": 1}\n')
  log = logs.read(path)
  assert log.spoilt.keys() == {'a', 'b'} and log.curves.keys() == {'c'}


def test_the_last_line_of_a_repeated_step_holds():
  steps = 10, 20, 30, 20, 30, 40
  log = log_of(*({'env_steps': s, 'a': i} for i, s in enumerate(steps)))
  assert values(log, 'a') == [0, 3, 4, 5]
  assert log.returns == 1


@pytest.mark.parametrize('name', sorted(logs.BEGINNINGS))
def test_what_a_run_has_logged_up_to_where_it_goes_on_holds(name):
  steps = 10, 20, 30
  lines = [{'env_steps': s, 'a': s, 'frames': s} for s in steps]
  lines.append({'env_steps': 20, 'frames': 20, name: 2})
  log = log_of(*lines, {'env_steps': 31, 'a': 31, 'frames': 31})
  assert values(log, 'a') == values(log, 'frames') == [10, 20, 31]
  assert log.curves.keys() == {'a', 'frames'}


def test_a_metric_that_a_run_went_back_behind_is_gone(tmp_path):
  path = tmp_path / 'x'
  made.write_lines(path, [{'env_steps': 9, 'a': 1}, {'env_steps': 8, 'b': 1}])
  assert logs.read(path).curves.keys() == {'b'}


def test_going_back_without_end_is_damage(monkeypatch):
  monkeypatch.setattr(logs, 'RETURNS', 3)
  lines = [{'env_steps': i % 2, 'a': i} for i in range(20)]
  log = log_of(*lines)
  assert log.returns == 3 and log.damaged > 0


def test_divergences_are_told_with_their_steps():
  log = log_of(
    {'env_steps': 7, 'diverged/update': 31},
    {'env_steps': 4, 'diverged/rewinds': 1.0},
  )
  assert log.told == [(7, 'diverged/update', 31), (4, 'diverged/rewinds', 1)]


def test_names_without_end_are_refused(monkeypatch):
  monkeypatch.setattr(logs, 'NAMES', 5)
  log = log_of({'env_steps': 1} | {f'm{i}': i for i in range(9)})
  assert len(log.curves) == 5 and log.refused == 4
  assert log_of({'env_steps': 1, 'x' * 1000: 1}).refused == 1


def test_lines_that_are_damaged_are_counted(tmp_path):
  path = tmp_path / 'x'
  good = json.dumps({'env_steps': 1, 'a': 1})
  path.write_text(f'{good}\n{good[:-5]}\n["env_steps"]\n')
  log = logs.read(path)
  assert (log.lines, log.damaged) == (1, 2)
