"""Forms of one computation, chosen by where it runs and on how much.

All that a CPU does otherwise than an accelerator is here; the layers read as
their equations.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dreamer_nnx.nn.precision import Precision

LAYOUT = ('NHWC', 'HWIO', 'NHWC')
# Numbers that the patches of one portion may hold, so that they stay in the
# cache of a CPU.
NUMBERS = 5 * 2**19
# Up to so many rows, as in acting, to take a kernel apart takes longer than to
# multiply by it.
FEW_ROWS = 64
# On a CPU the four inputs of a 2x2 window are convolved at once only if they
# are of so few channels; of a quarter of them for fewer images, as in acting.
FEW_CHANNELS, MANY_IMAGES = 16, 64


def known(*sizes: int) -> bool:
  """Tells whether sizes are numbers, not symbols of a program for any batch."""
  return all(isinstance(size, int) for size in sizes)


def few_rows(*leading: int) -> bool:
  """Tells whether a kernel is better used as it is than taken apart.

  Args:
    leading: The axes of the input but the last.
  """
  return known(*leading) and math.prod(leading) <= FEW_ROWS


def one_product(precision: Precision) -> bool:
  """Tells whether one large product is faster than one per part of the output.

  On accelerators it is not, for slices of one product would be copies.
  """
  return precision.on_cpu


def folds_windows(channels: int, images: int, precision: Precision) -> bool:
  """Tells whether convolving whole 2x2 windows is faster than pixels."""
  many = not known(images) or images >= MANY_IMAGES
  limit = FEW_CHANNELS if many else FEW_CHANNELS // 4
  return channels <= limit or not precision.on_cpu


@dataclasses.dataclass(frozen=True)
class Portions:
  """Works on images: on a CPU a few at a time, elsewhere all at once.

  Args:
    numbers: How many the patches of one image hold, where they are largest.
  """

  numbers: int
  precision: Precision

  @property
  def few(self) -> bool:
    return self.precision.on_cpu

  def __call__(self, function: Callable, *arrays: jax.Array) -> jax.Array:
    """Calls a function of arrays, whose rows are independent.

    Args:
      arrays: (N, ...) each.
    """
    rows = arrays[0].shape[0]
    if not self.few or not known(rows):
      return function(*arrays)
    size = portion(rows, self.numbers)
    return in_portions(function, size, *arrays)


def portion(rows: int, numbers: int) -> int:
  """Chooses how many images to work on at once; a divisor of `rows`.

  Args:
    numbers: How many the patches of one image hold, where they are largest.
  """
  limit = min(rows, max(1, NUMBERS // numbers))
  return max(k for k in range(1, limit + 1) if rows % k == 0)


def in_portions(function: Callable, size: int, *arrays: jax.Array) -> jax.Array:
  """Calls a function, whose rows are independent, for `size` rows at a time.

  The backward pass computes each portion once more, so that neither keeps
  anything between the arrays and the result in memory.

  Args:
    arrays: (N, ...) each, N a multiple of `size`.
  """
  rows = arrays[0].shape[0]
  if size == rows:
    return jax.checkpoint(function)(*arrays)
  body = jax.checkpoint(lambda portion: function(*portion))
  # (N, ...) to (N / size, size, ...), and the result back.
  stacked = [x.reshape(rows // size, size, *x.shape[1:]) for x in arrays]
  y = jax.lax.map(body, tuple(stacked))
  return y.reshape(rows, *y.shape[2:])


def convolve(
  x: jax.Array, kernel: jax.Array, precision: Precision
) -> jax.Array:
  """Convolves, SAME with stride 1, in the form that is fast where it runs."""
  form = product if precision.on_cpu else native
  return form(x, kernel.astype(x.dtype))


def native(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
  """Convolves, SAME, as one operation of the compiler."""
  return jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), 'SAME', dimension_numbers=LAYOUT
  )


@jax.custom_vjp
def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Convolves, SAME, where there are gradients as one matrix product.

  It multiplies the patches of the input by the kernel, and its gradients are
  such products, too. A CPU is several times faster at this than at `native`
  and its gradient to the kernel, if the patches of what it is given stay in
  the cache: see `Portions`.
  For a result alone, as in acting, `native` is faster.
  """
  return native(x, kernel)


def _product_forward(x, kernel):
  read = patches(x, *kernel.shape[:2])
  return read @ _flat(kernel), (x, read, kernel)


def _product_backward(residuals, cotangent):
  x, read, kernel = residuals
  rows, columns, channels, outputs = kernel.shape
  if outputs > 2 * channels:
    scatter = jax.linear_transpose(lambda x: patches(x, rows, columns), x)
    (to_x,) = scatter(cotangent @ _flat(kernel).T)
  else:
    # (rows, columns, I, O) turned by 180 degrees: (rows, columns, O, I).
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    to_x = patches(cotangent, rows, columns, ahead=True) @ _flat(turned)
  dims = (((0, 1, 2), (0, 1, 2)), ((), ()))
  # (O, rows·columns·I) to (rows·columns·I, O).
  to_kernel = jax.lax.dot_general(cotangent, read, dims).T
  # (rows·columns·I, O) to (rows, columns, I, O).
  return to_x, to_kernel.reshape(kernel.shape)


product.defvjp(_product_forward, _product_backward)


def patches(
  x: jax.Array, rows: int, columns: int, ahead: bool = False
) -> jax.Array:
  """Collects what a SAME convolution reads around each pixel.

  Args:
    ahead: Puts the middle of an even number of taps before the pixel.

  Returns:
    (N, H, W, rows·columns·C).
  """
  height, width = x.shape[1:3]

  def around(size):
    before, after = (size - 1) // 2, size // 2
    return (after, before) if ahead else (before, after)

  x = jnp.pad(x, ((0, 0), around(rows), around(columns), (0, 0)))
  # rows·columns times (N, H, W, C).
  shifted = [
    x[:, i : i + height, j : j + width]
    for i in range(rows)
    for j in range(columns)
  ]
  return jnp.concatenate(shifted, -1)


def _flat(kernel: jax.Array) -> jax.Array:
  """Flattens (rows, columns, I, O) to (rows·columns·I, O)."""
  return kernel.reshape(-1, kernel.shape[-1])
