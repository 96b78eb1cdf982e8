"""Names of earlier versions are found under those of today."""

import pytest

from dreamer_nnx import notices
from dreamer_nnx.compat import (
  searched,
  state_name,
  state_name_before,
  stored_names,
)

MOVED = {
  'policy/heads/action/kernel': 'behavior/policy/heads/action/kernel',
  'value/mlp/layers/0/linear/kernel': (
    'behavior/value/mlp/layers/0/linear/kernel'
  ),
  'slow_value/head/bias': 'behavior/slow_value/module/head/bias',
  'retnorm/averages/weight': 'behavior/retnorm/averages/weight',
  'valnorm/averages/weight': 'behavior/valnorm/averages/weight',
  'advnorm/averages/weight': 'behavior/advnorm/averages/weight',
  'optimizer/1/nu/policy/heads/action/kernel': (
    'optimizer/1/nu/behavior/policy/heads/action/kernel'
  ),
  'optimizer/inner/0/mu/value/head/bias': (
    'optimizer/inner/0/mu/behavior/value/head/bias'
  ),
}
SAME = [
  'dynamics/core/hidden/0/kernel',
  'dynamics/policy/kernel',
  'encoder/value/kernel',
  'objectives/mine/policy/kernel',
  'behavior/planner/value/kernel',
  'optimizer/1/nu/dynamics/value/kernel',
  'optimizer/1/nu/encoder/policy/kernel',
  'optimizer/1/nu/objectives/mine/slow_value/kernel',
  'optimizer/1/count',
  'policyholder/kernel',
  'updates',
]
FINISH = {
  'retnorm/averages/mass': 'behavior/retnorm/averages/weight',
  'encoder/images/finish/0/norm/scale': 'encoder/images/norm_acts/0/norm/scale',
  'optimizer/1/nu/value/mlp/layers/2/finish/norm/scale': (
    'optimizer/1/nu/behavior/value/mlp/layers/2/norm_act/norm/scale'
  ),
}


@pytest.mark.parametrize(
  ('old', 'new'), [*(MOVED | FINISH).items(), *((n, n) for n in SAME)]
)
def test_arrays_have_one_name_today(old, new):
  assert state_name(old) == new and state_name(new) == new
  assert stored_names([old], [new]) == {new: old}
  assert stored_names([new], [new]) == {new: new}


@pytest.mark.parametrize(('old', 'new'), MOVED.items())
def test_modules_that_moved_have_a_name_of_then(old, new):
  assert state_name_before(new) == old


@pytest.mark.parametrize('name', SAME)
def test_others_do_not(name):
  assert state_name_before(name) == name


def test_a_name_that_the_config_builds_is_not_old():
  for name in ('encoder/finish/norm/scale', 'policy/kernel'):
    assert stored_names([name], [name]) == {name: name}


NAMES = [*MOVED.values(), 'encoder/mlp/kernel', 'optimizer/1/count']
POLICY = [n for n in NAMES if 'policy' in n]
VALUES = [n for n in NAMES if 'value/' in n]


@pytest.mark.parametrize(
  ('expression', 'found', 'warned'),
  [
    ('^policy/', [POLICY[0]], True),
    ('policy/', POLICY, False),
    ('^(policy|encoder)/', [POLICY[0], 'encoder/mlp/kernel'], True),
    ('^slow_value/head', ['behavior/slow_value/module/head/bias'], True),
    ('slow_value/head', ['behavior/slow_value/module/head/bias'], True),
    ('nu/policy', POLICY[1:], True),
    ('value/', VALUES, False),
    ('^(?!policy/)', [n for n in NAMES if n != POLICY[0]], True),
    ('^behavior/policy/', [POLICY[0]], False),
    ('^(?!behavior)', ['encoder/mlp/kernel', *NAMES[6:8], NAMES[9]], False),
    ('^(?!behavior|policy)', ['encoder/mlp/kernel', *NAMES[6:8], NAMES[9]], 0),
    ('slow_value/module/', ['behavior/slow_value/module/head/bias'], False),
    ('', NAMES, False),
    ('^encoder', ['encoder/mlp/kernel'], False),
    ('nothing', [], False),
  ],
)
def test_arrays_are_chosen_by_names_of_then_and_of_today(
  expression, found, warned, caplog
):
  notices.WARNED.clear()
  assert searched(NAMES, expression) == set(found)
  texts = [record.message for record in caplog.records]
  assert bool(texts) == bool(warned)
  if expression == '^policy/':
    assert texts == [
      "'^policy/' is of an older version: policy/ is now behavior/policy/. "
      'Rename it before version 0.4.'
    ]
