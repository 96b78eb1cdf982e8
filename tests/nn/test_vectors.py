"""Dicts of vectors as one array."""

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces as gs

from dreamer_nnx.nn.vectors import concat_vectors, vector_size
from dreamer_nnx.numerics.squash import symlog


def box(*shape):
  return gs.Box(-np.inf, np.inf, shape, np.float32)


SPACE = {
  'speed': box(),
  'goal': gs.Discrete(3),
  'arm': box(2, 2),
  'buttons': gs.MultiDiscrete([2, 4]),
}
VALUES = {
  'speed': np.float32([0.5, -2]),
  'goal': np.int32([2, 0]),
  'arm': np.float32([[[1, 2], [3, 4]], [[-1, -2], [-3, -4]]]),
  'buttons': np.int32([[1, 0], [0, 3]]),
}
ROWS = np.float32(
  [
    # arm, buttons, goal, speed: in the order of the alphabet
    [1, 2, 3, 4, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0.5],
    [-1, -2, -3, -4, 1, 0, 0, 0, 0, 1, 1, 0, 0, -2],
  ]
)


def concat(values, space=SPACE, **kw):
  return concat_vectors(space, values, **{'dtype': jnp.float32} | kw)


def test_keys_are_sorted_and_discrete_ones_one_hot():
  np.testing.assert_array_equal(concat(VALUES), ROWS)
  assert vector_size(SPACE) == ROWS.shape[1]


def test_order_of_the_dicts_does_not_matter():
  space = dict(reversed(SPACE.items()))
  values = dict(reversed(VALUES.items()))
  np.testing.assert_array_equal(concat(values, space), ROWS)


def test_any_leading_axes():
  batch = (1, 2, 1)
  values = {k: v.reshape(*batch, *v.shape[1:]) for k, v in VALUES.items()}
  np.testing.assert_array_equal(concat(values), ROWS.reshape(*batch, -1))
  values = {k: v[0] for k, v in VALUES.items()}
  np.testing.assert_array_equal(concat(values), ROWS[0])


def test_squash_is_for_continuous_values_alone():
  expected = ROWS.copy()
  for columns in (slice(0, 4), slice(13, 14)):
    expected[:, columns] = symlog(ROWS[:, columns])
  np.testing.assert_allclose(concat(VALUES, squash=symlog), expected)


def test_missing_values_are_zero_vectors_of_their_step():
  values = {k: v.copy() for k, v in VALUES.items()}
  values['arm'][0, 1, 0] = -np.inf
  values['buttons'][1, 0] = -1
  values['goal'][0] = -1
  expected = ROWS.copy()
  expected[0, :4] = expected[1, 4:10] = expected[0, 10:13] = 0
  np.testing.assert_array_equal(concat(values), expected)


def test_missing_values_leave_gradients_finite():
  x = np.float32([[1, -np.inf], [2, 3]])
  space = {'x': box(2)}
  total = lambda x: concat({'x': x}, space, squash=symlog).sum()
  slope = jax.grad(total)(x)
  np.testing.assert_allclose(slope, [[0, 0], [1 / 3, 1 / 4]], rtol=1e-6)


def test_result_has_the_format_asked_for():
  found = concat(VALUES, dtype=jnp.bfloat16)
  assert found.dtype == jnp.bfloat16
  np.testing.assert_array_equal(found, ROWS)


def test_unsigned_and_bool_values_are_never_missing():
  space = {'byte': gs.Discrete(256), 'flag': gs.Discrete(2)}
  values = {'byte': jnp.uint8([255, 0]), 'flag': jnp.array([True, False])}
  x = concat_vectors(space, values, dtype=jnp.float32)
  np.testing.assert_array_equal(x.argmax(-1), [255, 0])
  np.testing.assert_array_equal(x[:, 256:], [[0, 1], [1, 0]])
