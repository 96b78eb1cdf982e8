"""Masked weight decay."""

import re

import numpy as np
import pytest

from dreamer_nnx.errors import UserError
from dreamer_nnx.optimizers.decay import weight_decay

PARAMS = {
  'encoder/0/kernel': np.float32([2, -4]),
  'encoder/0/bias': np.float32([3, 5]),
  'encoder/norm/scale': np.float32([1, 7]),
  'policy/kernels': np.float32([6, 6]),
}
ZEROS = {name: np.zeros(2, np.float32) for name in PARAMS}


def decayed(wd, pattern, updates=ZEROS):
  optimizer = weight_decay(wd, pattern)
  new, _ = optimizer.update(updates, optimizer.init(PARAMS), PARAMS)
  return new


@pytest.mark.parametrize(
  ('pattern', 'names'),
  [
    (r'/kernel$', {'encoder/0/kernel'}),
    (r'kernel', {'encoder/0/kernel', 'policy/kernels'}),
    (r'^encoder/.*(bias|scale)$', {'encoder/0/bias', 'encoder/norm/scale'}),
    (r'.*', set(PARAMS)),
  ],
)
def test_decay_is_added_to_the_named_parameters_alone(pattern, names):
  for name, update in decayed(0.5, pattern).items():
    expected = 0.5 * PARAMS[name] * (name in names)
    np.testing.assert_array_equal(update, expected, err_msg=name)


def test_decay_comes_on_top_of_the_update():
  updates = {name: np.float32([10, 20]) for name in PARAMS}
  new = decayed(0.5, r'/kernel$', updates)
  np.testing.assert_array_equal(new['encoder/0/kernel'], [11, 18])
  np.testing.assert_array_equal(new['encoder/0/bias'], [10, 20])


def test_no_decay_leaves_updates_alone():
  assert decayed(0.0, 'x') is ZEROS


@pytest.mark.parametrize('wd', [0.1, 0.0])
def test_a_broken_pattern_is_refused(wd):
  message = "wdregex = '(': is no regular expression"
  with pytest.raises(UserError, match=re.escape(message)):
    weight_decay(wd, '(')
