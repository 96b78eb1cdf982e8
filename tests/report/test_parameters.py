"""The table of arrays."""

import numpy as np

from dreamer_nnx.report import parameters, runs
from tests.report import made

SHAPES = {
  'encoder/linear/kernel': ((3, 4), np.dtype('float32')),
  'encoder/linear/bias': ((4,), np.dtype('float32')),
  'slow/value/kernel': ((5,), np.dtype('float32')),
  'optimizer/1/nu/encoder/linear/kernel': ((3, 4), np.dtype('float32')),
  'optimizer/1/nu/encoder/linear/bias': ((4,), np.dtype('float32')),
  'updates': ((), np.dtype('int32')),
}


def test_numbers_are_counted_by_module():
  modules, arrays = parameters.tables(SHAPES)
  assert modules.rows == [
    ('encoder', '16', '16'),
    ('slow', '5', '0'),
    ('counters', '1', '0'),
    ('in all', '22', '16'),
  ]
  assert arrays.folded and arrays.title == 'All 4 arrays'
  assert ('encoder/linear/kernel', '3 × 4', 'float32', '12') in arrays.rows


def test_a_run_without_checkpoint_has_no_table(tmp_path):
  made.write(tmp_path, made.lines(1))
  assert parameters.section(runs.read(tmp_path, 'x')) is None


def test_a_damaged_checkpoint_is_said(tmp_path):
  made.write(tmp_path, made.lines(1))
  (tmp_path / 'checkpoints' / '10').mkdir(parents=True)
  section = parameters.section(runs.read(tmp_path, 'x'))
  assert 'is damaged' in section.warnings[0]
