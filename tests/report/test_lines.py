"""Objects of JSON, one a line, from files of any kind."""

import pytest

from dreamer_nnx.report import lines
from dreamer_nnx.report.lines import Lines


def read(path, data):
  path.write_bytes(data)
  found = Lines(path)
  return list(found), found.damaged


@pytest.mark.parametrize('block', [1, 2, 7, 1 << 20])
def test_lines_are_read_whatever_the_blocks(tmp_path, monkeypatch, block):
  monkeypatch.setattr(lines, 'BLOCK', block)
  data = b'{"a": 1}\n\n  \n{"a": 2}\r\n{"a": 3}'
  assert read(tmp_path / 'x', data) == ([{'a': 1}, {'a': 2}, {'a': 3}], 0)


DAMAGED = (
  b'{"a": 1',
  b'nonsense',
  b'[1, 2]',
  b'3',
  b'\xff\xfe\x00',
  b'{"a": ' + b'[' * 100_000,
  b'{"a": ' + b'9' * 10_000 + b'}',
  b'null',
)


@pytest.mark.parametrize('bad', DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_line_is_counted_and_left_out(tmp_path, bad):
  data = b'{"a": 1}\n' + bad + b'\n{"a": 2}\n'
  assert read(tmp_path / 'x', data) == ([{'a': 1}, {'a': 2}], 1)


@pytest.mark.parametrize('block', [5, 64, 1 << 20])
@pytest.mark.parametrize('end', [b'\n{"a": 2}\n', b''])
def test_a_huge_line_is_never_held(tmp_path, monkeypatch, block, end):
  monkeypatch.setattr(lines, 'BLOCK', block)
  monkeypatch.setattr(lines, 'LONGEST', 100)
  data = b'{"a": 1}\n{"b": "' + b'x' * 1_000 + b'"}' + end
  found = [{'a': 1}, {'a': 2}] if end else [{'a': 1}]
  assert read(tmp_path / 'x', data) == (found, 1)


def test_a_file_of_one_line_without_end_takes_no_memory(tmp_path, monkeypatch):
  monkeypatch.setattr(lines, 'LONGEST', 1000)
  assert read(tmp_path / 'x', b'7' * 5_000_000) == ([], 1)


def test_an_empty_file_has_no_lines(tmp_path):
  assert read(tmp_path / 'x', b'') == ([], 0)
