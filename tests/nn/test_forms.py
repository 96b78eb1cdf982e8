"""Forms for a CPU give what those for accelerators give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.nn.forms import NUMBERS, in_portions, portion

X = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
Y = np.arange(1, 7, dtype=np.float32)


def mixed(x, y):
  return jnp.tanh(x).sum((1, 2)) * y


@pytest.mark.parametrize('size', [1, 2, 3, 6])
def test_rows_and_gradients_do_not_depend_on_the_size(size):
  def total(x, y):
    return (in_portions(mixed, size, x, y) * Y[::-1]).sum()

  found = jax.jit(lambda x, y: in_portions(mixed, size, x, y))(X, Y)
  np.testing.assert_allclose(found, mixed(X, Y), rtol=1e-6)
  grads = jax.grad(total, argnums=(0, 1))(X, Y)
  expected = jax.grad(lambda x, y: (mixed(x, y) * Y[::-1]).sum(), (0, 1))(X, Y)
  for a, b in zip(grads, expected, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize(
  ('rows', 'numbers', 'expected'),
  [
    (12, NUMBERS // 5, 4),  # 5 fit, and 4 divides 12.
    (12, 1, 12),
    (12, NUMBERS + 1, 1),
    (7, NUMBERS // 3, 1),
  ],
)
def test_a_portion_fits_and_divides(rows, numbers, expected):
  assert portion(rows, numbers) == expected
