"""The table of versions: what pytest says, and which rows stay."""

import pytest

from tests import matrix


@pytest.mark.parametrize(
  ('line', 'expected'),
  [
    (
      '==== 1 failed, 1397 passed, 2 warnings in 573.73s (0:09:33) ====',
      (1397, 1),
    ),
    ('857 passed in 61.02s (0:01:01)', (857, 0)),
    ('2 failed, 5 passed, 1 skipped, 3 errors in 4.00s', (5, 5)),
    ('1 error in 0.31s', (0, 1)),
    ('make: *** [Makefile:60: test] Error 1', (0, 0)),
  ],
)
def test_counts_are_those_of_the_last_line(line, expected):
  text = f'3 passed in the file before\n{line}\nmake: leaving\n'
  assert matrix.counts(text) == expected


def row(python: str, passed: str) -> list[str]:
  versions = [f'1.{i}' for i in range(len(matrix.PACKAGES))]
  return [python, *versions, passed, '0', '61', 'abc1234']


def test_a_row_replaces_that_of_the_same_python_alone():
  text = ''
  for python, passed in (('3.13.5', '7'), ('3.11.7', '8'), ('3.13.9', '9')):
    text = matrix.merged(text, row(python, passed))
  lines = [line for line in text.splitlines() if line.startswith('| 3.')]
  assert [line.split(' | ')[0] for line in lines] == ['| 3.11.7', '| 3.13.9']
  assert '| 9 | 0 | 61 | abc1234 |' in lines[1]
  assert matrix.merged(text, row('3.11.7', '8')) == text


def test_what_fails_is_said_with_its_output(tmp_path):
  with pytest.raises(RuntimeError, match=r'make nothing:\n(.|\n)*No rule'):
    matrix.said(['make', 'nothing'], tmp_path)


def test_without_an_interpreter_it_says_how(capsys):
  assert matrix.main([]) == 2
  assert "PYTHONS='python3.11 python3.13'" in capsys.readouterr().out
