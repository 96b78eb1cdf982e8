"""Convolutions over (N, H, W, C) images, zero-padded to keep the size."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dreamer_nnx.nn.initializers import initialize
from dreamer_nnx.nn.precision import Precision

LAYOUT = ('NHWC', 'HWIO', 'NHWC')
# Numbers that one chunk of `by_products` reads: they should stay in the cache.
CHUNK = 2**20
# With few channels all taps go into one product, with more those of a row.
FEW_CHANNELS = 16


def native(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
  """SAME convolution as one operation of the compiler."""
  return jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), 'SAME', dimension_numbers=LAYOUT
  )


def by_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """The same convolution as matrix products, a few images at a time.

  Products of the kernel with shifted copies of the input. Their gradients are
  matrix products, too, where a CPU's gradient of `native` to the kernel is
  several times slower.
  """
  n, h, w, c = x.shape
  rows, columns = kernel.shape[:2]
  at_once = rows if c <= FEW_CHANNELS else 1
  size = _divisor(n, max(1, CHUNK // (h * w * c * columns * at_once)))
  body = jax.checkpoint(lambda images: _product(images, kernel, at_once))
  y = jax.lax.map(body, x.reshape(n // size, size, h, w, c))
  return y.reshape(n, h, w, -1)


def _product(x: jax.Array, kernel: jax.Array, at_once: int) -> jax.Array:
  """A product for every `at_once` rows of the kernel; their sum."""
  rows, columns, _, outputs = kernel.shape
  height, width = x.shape[1:3]
  around = lambda size: ((size - 1) // 2, size // 2)
  x = jnp.pad(x, ((0, 0), around(rows), around(columns), (0, 0)))
  shifted = lambda i, j: x[:, i : i + height, j : j + width]

  def part(start):
    taps = [(start + i, j) for i in range(at_once) for j in range(columns)]
    copies = jnp.concatenate([shifted(*tap) for tap in taps], -1)
    weights = kernel[start : start + at_once].reshape(-1, outputs)
    return jnp.matmul(copies, weights)

  return sum(part(start) for start in range(0, rows, at_once))


def _divisor(number: int, limit: int) -> int:
  """The largest divisor of a number up to a limit."""
  return max(k for k in range(1, limit + 1) if number % k == 0)


@jax.custom_vjp
def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """SAME convolution, in the form that is fast where it runs."""
  return jax.lax.platform_dependent(x, kernel, cpu=by_products, default=native)


def _forward(x, kernel):
  return convolve(x, kernel), (x, kernel)


def _backward(inputs, cotangent):
  def pull(form):
    return lambda *args: jax.vjp(form, *args[:-1])[1](args[-1])

  return jax.lax.platform_dependent(
    *inputs, cotangent, cpu=pull(by_products), default=pull(native)
  )


convolve.defvjp(_forward, _backward)


class Conv(nnx.Module):
  """y = x * W + b.

  Args:
    inputs, outputs: Channels.
    kernel: Side of the square kernel.
    stride: Keep every stride-th position.
    outscale: Multiplies the initial kernel.
  """

  def __init__(
    self,
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    winit: str = 'trunc_normal_in',
    outscale: float = 1.0,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    shape = (kernel, kernel, inputs, outputs)
    weights = initialize(winit, rngs.params(), shape, outscale)
    self.kernel = nnx.Param(weights.astype(precision.param_dtype))
    self.bias = nnx.Param(jnp.zeros((outputs,), precision.param_dtype))
    self.stride = stride

  def __call__(self, x: jax.Array) -> jax.Array:
    kernel = self.kernel[...].astype(x.dtype)
    if self.stride == 1:
      y = convolve(x, kernel)
    else:
      y = native(x, kernel, self.stride)
    return y + self.bias[...].astype(x.dtype)

  def upsampled(self, x: jax.Array) -> jax.Array:
    """The convolution of x repeated 2x in height and width.

    Taps that read the same source pixel are added up beforehand, so that one
    small convolution to 4x the channels on the small map does the same sum.
    """
    fold = upsampling_fold(self.kernel.shape[0])
    kernel = jnp.einsum('ayk,bxl,klio->yxiabo', fold, fold, self.kernel[...])
    kernel = kernel.reshape(*kernel.shape[:3], -1).astype(x.dtype)
    y = convolve(x, kernel)
    y = depth_to_space(y, self.kernel.shape[-1])
    return y + self.bias[...].astype(x.dtype)

  def transposed(self, x: jax.Array) -> jax.Array:
    """Fractionally strided: repeat 2x, keep odd positions, convolve."""
    x = x.repeat(2, -2).repeat(2, -3)
    rows = jnp.arange(x.shape[-3]) % 2 == 1
    columns = jnp.arange(x.shape[-2]) % 2 == 1
    x = x * (rows[:, None] & columns[None, :])[..., None].astype(x.dtype)
    return self(x)


def upsampling_fold(size: int) -> np.ndarray:
  """Which tap reads which source pixel after nearest 2x upsampling.

  Args:
    size: Taps of the kernel along one axis.

  Returns:
    (2, S, size): entry [a, s, t] is 1 where, for output pixel 2y + a, tap t
    reads source pixel y + s - S // 2. S is odd.
  """
  taps = np.arange(size) - (size - 1) // 2
  source = np.stack([(a + taps) // 2 for a in (0, 1)])
  reach = np.abs(source).max()
  offsets = np.arange(-reach, reach + 1)
  return (source[:, None] == offsets[None, :, None]).astype(np.float32)


def depth_to_space(x: jax.Array, channels: int) -> jax.Array:
  """(N, H, W, 2·2·C) to (N, 2H, 2W, C)."""
  n, h, w, _ = x.shape
  x = x.reshape(n, h, w, 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(n, 2 * h, 2 * w, channels)


@jax.custom_vjp
def max_pool(x: jax.Array) -> jax.Array:
  """Maximum over 2x2 windows; equal maxima share the gradient.

  The backward pass remembers which positions were largest, one bit each.
  """
  return _windows(x).max((-4, -2))


def _windows(x):
  *n, h, w, c = x.shape
  return x.reshape(*n, h // 2, 2, w // 2, 2, c)


def _pool_forward(x):
  windows = _windows(x)
  y = windows.max((-4, -2), keepdims=True)
  bits = (windows == y).astype(jnp.uint8) << BITS
  return y.squeeze((-4, -2)), bits.sum((-4, -2), dtype=jnp.uint8)


def _pool_backward(bits, cotangent):
  count = jax.lax.population_count(bits).astype(cotangent.dtype)
  spread = lambda x: x[..., :, None, :, None, :]
  largest = (spread(bits) >> BITS) & 1
  dx = jnp.where(largest == 1, spread(cotangent / count), 0)
  *n, h, _, w, _, c = dx.shape
  return (dx.reshape(*n, 2 * h, 2 * w, c),)


# The bit of each position of a window, (2, 1, 2, 1).
BITS = np.arange(4, dtype=np.uint8).reshape(2, 1, 2, 1)
max_pool.defvjp(_pool_forward, _pool_backward)
