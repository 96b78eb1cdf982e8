"""Names of earlier versions are found under those of today."""

import pytest

from dreamer_nnx.compat import state_name, stored_names


@pytest.mark.parametrize(
  ('old', 'new'),
  [
    ('retnorm/averages/mass', 'retnorm/averages/weight'),
    (
      'encoder/images/finish/0/norm/scale',
      'encoder/images/norm_acts/0/norm/scale',
    ),
    (
      'optimizer/1/nu/value/mlp/layers/2/finish/norm/scale',
      'optimizer/1/nu/value/mlp/layers/2/norm_act/norm/scale',
    ),
    ('dynamics/core/hidden/0/kernel', 'dynamics/core/hidden/0/kernel'),
  ],
)
def test_arrays_have_one_name_today(old, new):
  assert state_name(old) == new and state_name(new) == new
  assert stored_names([old], [new]) == {new: old}
  assert stored_names([new], [new]) == {new: new}


def test_a_name_that_the_config_builds_is_not_old():
  name = 'encoder/finish/norm/scale'
  assert stored_names([name], [name]) == {name: name}
