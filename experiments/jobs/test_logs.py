"""Logs of runs: which lines hold, and files that no run has written so."""

import json
import math

import pytest

from experiments.jobs import logs

HUGE = 10**400
DEEP = '[' * 200_000


def line(steps, value=1.0, **more):
  found = {'env_steps': steps, 'episode/return': value, 'episode/count': 1.0}
  return found | more


def write(folder, lines, starts=None, **config):
  workdir = folder / '0'
  workdir.mkdir()
  texts = [x if isinstance(x, str) else json.dumps(x) for x in lines]
  (workdir / 'metrics.jsonl').write_text('\n'.join(texts) + '\n')
  config = {'env': {'name': 'a', 'a': {'repeat': 1}}} | config
  (workdir / 'config.json').write_text(json.dumps(config))
  if starts is not None:
    text = json.dumps([{'env_steps': x} for x in starts])
    (workdir / 'run.json').write_text(text)
  return workdir


def frames(*arguments, **more):
  run = logs.read(write(*arguments, **more), 'task')
  return run.frames.tolist(), run.last


# Logged at other steps after it was killed; it had saved at 10.
LINES = [line(5), line(10), line(16), line(21)]
GOES_ON = {'env_steps': 10, 'run/starts': 2}


@pytest.mark.parametrize('then', [15, 17, 30])
def test_a_run_that_says_where_it_goes_on(tmp_path, then):
  lines = [*LINES, GOES_ON, line(then)]
  assert frames(tmp_path, lines) == ([5, 10, then], then)


def test_a_run_that_has_just_gone_back(tmp_path):
  assert frames(tmp_path, [*LINES, GOES_ON]) == ([5, 10], 10)


def test_one_that_goes_on_at_the_start(tmp_path):
  lines = [*LINES, {'env_steps': 0, 'run/starts': 2}, line(6)]
  assert frames(tmp_path, lines) == ([6], 6)


def test_one_that_went_back_for_it_diverged(tmp_path):
  lines = [*LINES, {'env_steps': 10, 'diverged/rewinds': 1}, line(22)]
  assert frames(tmp_path, lines) == ([5, 10, 22], 22)


def test_starts_tell_where_an_older_one_went_on(tmp_path):
  assert frames(tmp_path, [*LINES, line(17)], [0, 10]) == ([5, 10, 17], 17)


def test_times_that_fall_tell_of_another_process(tmp_path):
  times = 5.0, 10.0, 20.0, 14.0
  lines = [
    line(x, **{'time/elapsed': time})
    for x, time in zip((5, 10, 16, 17), times, strict=True)
  ]
  assert frames(tmp_path, lines, [0, 10]) == ([5, 10, 17], 17)


@pytest.mark.parametrize(
  'starts', [None, [0], [0, 90], [0, None], ['x', 'y'], [0, 1.5]]
)
def test_without_a_sound_start_the_later_lines_hold(tmp_path, starts):
  lines = [*LINES, line(17), line(21)]
  assert frames(tmp_path, lines, starts) == ([5, 10, 16, 17, 21], 21)


def test_starts_before_offline_updates_are_on_another_axis(tmp_path):
  lines = [line(x, **{'offline/env_steps': x - 4}) for x in (9, 14, 20, 19)]
  lines.append({'env_steps': 1000, 'run/starts': 2})
  found = frames(tmp_path, lines, [0, 5], train={'offline': 4})
  assert found == ([5, 10, 15], 15)


def test_lines_without_episodes_are_rolled_back_too(tmp_path):
  lines = [line(50), line(100), {'env_steps': 100, 'eval/return': 9.0}]
  assert frames(tmp_path, [*lines, line(60)]) == ([50, 60], 60)


def test_what_is_logged_of_one_step_stays_together(tmp_path):
  lines = [line(10), {'env_steps': 10, 'eval/return': 2.0}, line(20)]
  assert frames(tmp_path, lines) == ([10, 20], 20)
  assert logs.valid_lines(lines) == lines


BAD = [None, 'x', math.nan, math.inf, -1, HUGE, True, [1], {}, 1.5]


@pytest.mark.parametrize('name', ['env_steps', 'frames', 'offline/env_steps'])
@pytest.mark.parametrize('value', BAD)
def test_counters_that_are_none_make_a_line_unreadable(tmp_path, name, value):
  workdir = write(tmp_path, [line(5), line(10) | {name: value}])
  run = logs.read(workdir, 'task')
  assert run.frames.tolist() == [5] and run.last == 5
  text = '1 unreadable lines of metrics.jsonl were left out'
  assert run.problems == (text,)


@pytest.mark.parametrize('value', BAD[:4] + BAD[5:9])
def test_other_fields_that_are_no_numbers_are_left_out(tmp_path, value):
  more = {'crafter/x': value, 'steps': value, 'time/elapsed': value}
  workdir = write(tmp_path, [line(5) | more, line(10, value)])
  run = logs.read(workdir, 'task')
  assert run.frames.tolist() == [5] and run.last == 10 and not run.problems
  assert not run.logs


@pytest.mark.parametrize('text', [DEEP, '{"env_steps": 1' + '0' * 9_000 + '}'])
def test_lines_that_json_cannot_hold_are_unreadable(tmp_path, text):
  run = logs.read(write(tmp_path, [line(5), text]), 'task')
  assert run.last == 5 and '1 unreadable lines' in run.problems[0]


@pytest.mark.parametrize('text', [DEEP, '{"a":' * 990 + '1' + '}' * 990, '[]'])
def test_a_config_that_is_none_is_said(tmp_path, text):
  workdir = write(tmp_path, [line(5)])
  (workdir / 'config.json').write_text(text)
  (workdir / 'run.json').write_text(text)
  run = logs.read(workdir, 'task')
  assert run.last == 5 and 'config.json is unreadable' in run.problems[0]


@pytest.mark.parametrize('value', [*BAD, 0])
def test_a_repeat_that_is_none_is_said(tmp_path, value):
  env = {'name': 'a', 'a': {'repeat': value}}
  run = logs.read(write(tmp_path, [line(5)], env=env), 'task')
  assert run.last == 5 and logs.repeat_of(run.config) == 1
  if not isinstance(value, dict):
    assert 'config.env.a.repeat is no number of frames' in run.problems[0]


@pytest.mark.parametrize('value', ['x', math.nan, HUGE, [1], True])
def test_evaluations_without_a_number_are_unreadable(tmp_path, value):
  workdir = write(tmp_path, [line(5)])
  evaluation = {'env_steps': 5, 'policy': 'trained, greedy', 'eval/return': 2.0}
  bad = [evaluation | {'eval/return': x} for x in (value, None)]
  texts = [json.dumps(x) for x in (evaluation, *bad)]
  (workdir / 'evaluations.jsonl').write_text('\n'.join(texts))
  run = logs.read(workdir, 'task')
  assert run.greedy == 2
  assert '1 unreadable lines of evaluations.jsonl' in run.problems[0]
