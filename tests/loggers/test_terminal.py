import io

import numpy as np
import pytest

from dreamer_nnx.loggers.terminal import TerminalLogger, format_number
from tests.loggers.videos import moving_square


class Tty(io.StringIO):
  def isatty(self):
    return True


METRICS = {
  'episode/return': 12.3456,
  'episode/length': 33.0,
  'train/loss/rew': 0.000012345,
  'train/opt/grad_norm': 3.5,
  'rate/env_steps': np.float32(1520.75),
  'openloop/return': moving_square(2, 3),
}


def test_metrics_that_match_stand_in_aligned_columns(capsys):
  TerminalLogger('runs/a', width=72).write(12800, METRICS)
  assert capsys.readouterr().out.splitlines() == [
    'a: 12,800 env steps',
    '  episode/length        33   episode/return     12.35',
    '  rate/env_steps      1521   train/loss/rew 1.234e-05',
  ]


def test_narrow_terminal_gets_a_cell_a_line(capsys):
  TerminalLogger('a', width=30).write(5, METRICS)
  assert len(capsys.readouterr().out.splitlines()) == 1 + 4


@pytest.mark.parametrize('width', [40, 60, 90, 200])
def test_lines_fit_the_width(capsys, width):
  metrics = {f'loss/{i}': 1.5 * i for i in range(20)}
  TerminalLogger('a', width=width).write(5, metrics)
  out = capsys.readouterr().out
  assert max(map(len, out.splitlines())) <= width
  assert all(name in out for name in metrics)


def test_pattern_chooses(capsys):
  TerminalLogger('a', pattern='^train/opt').write(5, METRICS)
  out = capsys.readouterr().out
  assert 'train/opt/grad_norm' in out
  assert 'return' not in out


def test_nothing_to_show_prints_nothing(capsys):
  TerminalLogger('a').write(5, {'other': 1.0, 'return': moving_square(2, 3)})
  assert capsys.readouterr().out == ''


def test_pattern_that_is_no_expression_is_refused():
  with pytest.raises(ValueError, match=r"pattern = '\(': is no regular expr"):
    TerminalLogger('a', pattern='(')


def test_escape_codes_go_to_a_terminal_only(capsys, monkeypatch):
  logger = TerminalLogger('a')
  logger.write(5, METRICS)
  assert '\033' not in capsys.readouterr().out
  monkeypatch.delenv('NO_COLOR', raising=False)
  monkeypatch.setattr('sys.stdout', stream := Tty())
  logger.write(5, METRICS)
  assert stream.getvalue().startswith('\033[1ma: 5 env steps\033[0m\n')
  monkeypatch.setenv('NO_COLOR', '1')
  monkeypatch.setattr('sys.stdout', stream := Tty())
  logger.write(5, METRICS)
  assert '\033' not in stream.getvalue()


@pytest.mark.parametrize(
  ('value', 'text'),
  [
    (12345678, '12,345,678'),
    (33.0, '33'),
    (-0.5, '-0.5'),
    (1234.5678, '1235'),
    (1e12, '1e+12'),
    (float('nan'), 'nan'),
    (float('-inf'), '-inf'),
  ],
)
def test_form(value, text):
  assert format_number(value) == text
