"""Work on many images a few at a time."""

from collections.abc import Callable

import jax

# Numbers that the patches of one portion may hold, so that they stay in the
# cache of a CPU.
NUMBERS = 5 * 2**19


def portion(rows: int, numbers: int) -> int:
  """How many of `rows` images to work on at once; a divisor of `rows`.

  Args:
    numbers: How many the patches of one image hold, where they are largest.
  """
  limit = min(rows, max(1, NUMBERS // numbers))
  return max(k for k in range(1, limit + 1) if rows % k == 0)


def in_portions(function: Callable, size: int, *arrays: jax.Array) -> jax.Array:
  """function(*arrays), whose rows are independent, for `size` rows at a time.

  The backward pass computes each portion once more, so that neither keeps
  anything between the arrays and the result in memory.

  Args:
    arrays: (N, ...) each, N a multiple of `size`.
  """
  rows = len(arrays[0])
  if size == rows:
    return jax.checkpoint(function)(*arrays)
  body = jax.checkpoint(lambda portion: function(*portion))
  stacked = [x.reshape(rows // size, size, *x.shape[1:]) for x in arrays]
  y = jax.lax.map(body, tuple(stacked))
  return y.reshape(rows, *y.shape[2:])
