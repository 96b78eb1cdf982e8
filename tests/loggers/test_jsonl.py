import json

import numpy as np
import pytest

from dreamer_nnx.loggers.jsonl import JsonlLogger
from tests.loggers.videos import moving_square


def lines(workdir):
  text = (workdir / 'metrics.jsonl').read_text('utf-8')
  # Strict: the names NaN and Infinity are no JSON.
  return [json.loads(t, parse_constant=pytest.fail) for t in text.splitlines()]


def test_each_write_is_a_line_on_disk_at_once(tmp_path):
  workdir = tmp_path / 'made' / 'here'
  logger = JsonlLogger(workdir)
  logger.write(16, {'loss/rew': np.float32(0.5), 'episode/count': 3})
  logger.write(np.int64(32), {'loss/rew': 0.25})
  assert lines(workdir) == [
    {'env_steps': 16, 'loss/rew': 0.5, 'episode/count': 3},
    {'env_steps': 32, 'loss/rew': 0.25},
  ]
  logger.close()
  logger.close()


def test_numbers_that_are_not_finite_become_null(tmp_path):
  logger = JsonlLogger(tmp_path)
  logger.write(1, {'a': float('nan'), 'b': np.float32('inf'), 'c': 2.5})
  assert lines(tmp_path) == [{'env_steps': 1, 'a': None, 'b': None, 'c': 2.5}]


def test_what_is_no_scalar_is_left_out(tmp_path):
  logger = JsonlLogger(tmp_path)
  logger.write(1, {'video': moving_square(2, 3)})
  logger.write(2, {'video': moving_square(2, 3), 'a': 1.5, 'text': 'x'})
  assert lines(tmp_path) == [{'env_steps': 2, 'a': 1.5}]


def test_count_of_steps_wins_over_a_metric_of_that_name(tmp_path):
  JsonlLogger(tmp_path).write(7, {'env_steps': 9, 'a': 1})
  assert lines(tmp_path) == [{'env_steps': 7, 'a': 1}]


@pytest.mark.parametrize('torn', ['', '{"env_st', 'x' * 9000])
@pytest.mark.parametrize('whole', ['', '{"env_steps": 1, "a": 1.5}\n'])
def test_run_that_goes_on_appends_after_the_last_whole_line(
  tmp_path, whole, torn
):
  (tmp_path / 'metrics.jsonl').write_text(whole + torn, 'utf-8')
  JsonlLogger(tmp_path).write(2, {'a': 2.5})
  before = [{'env_steps': 1, 'a': 1.5}] if whole else []
  assert lines(tmp_path) == [*before, {'env_steps': 2, 'a': 2.5}]
