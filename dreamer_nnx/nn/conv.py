"""Convolutions over (N, H, W, C) images, zero-padded to keep the size."""

import functools

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
  return max(k for k in range(1, min(number, limit) + 1) if number % k == 0)


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

  def pooled(self, x: jax.Array) -> jax.Array:
    """The maximum over 2x2 windows of the convolution.

    With few channels the four results of a window are made side by side, by
    one smaller convolution of the four inputs of each window.
    """
    size, _, inputs, outputs = self.kernel.shape
    if inputs > FEW_CHANNELS:
      return max_pool(self(x))
    fold = pooling_fold(size)
    kernel = jnp.einsum(
      'aybk,cxdl,klio->yxbdiaco', fold, fold, self.kernel[...]
    )
    kernel = kernel.reshape(*kernel.shape[:2], 4 * inputs, 4 * outputs)
    y = convolve(space_to_depth(x), kernel.astype(x.dtype))
    y = maximum(y.reshape(*y.shape[:-1], 2, 2, outputs), (-3, -2))
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


def pooling_fold(size: int) -> np.ndarray:
  """Which tap reads which pixel of which 2x2 window.

  Args:
    size: Taps of the kernel along one axis.

  Returns:
    (2, S, 2, size): entry [a, s, b, t] is 1 where, for pixel a of window y, tap
    t reads pixel b of window y + s - S // 2. S is odd.
  """
  taps = np.arange(size) - (size - 1) // 2
  read = np.arange(2)[:, None] + taps
  reach = np.abs(read // 2).max()
  pixels = np.arange(-2 * reach, 2 * reach + 2).reshape(-1, 2)
  return (read[:, None, None] == pixels[None, :, :, None]).astype(np.float32)


def depth_to_space(x: jax.Array, channels: int) -> jax.Array:
  """(N, H, W, 2·2·C) to (N, 2H, 2W, C)."""
  n, h, w, _ = x.shape
  x = x.reshape(n, h, w, 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(n, 2 * h, 2 * w, channels)


def space_to_depth(x: jax.Array) -> jax.Array:
  """(N, 2H, 2W, C) to (N, H, W, 2·2·C)."""
  n, h, w, c = x.shape
  x = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(n, h // 2, w // 2, 4 * c)


def max_pool(x: jax.Array) -> jax.Array:
  """Maximum over 2x2 windows; equal maxima share the gradient."""
  *n, h, w, c = x.shape
  return maximum(x.reshape(*n, h // 2, 2, w // 2, 2, c), (-4, -2))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def maximum(x: jax.Array, axes: tuple[int, int]) -> jax.Array:
  """Maximum over two axes of size 2; equal maxima share the gradient.

  The backward pass remembers which positions were largest, one bit each.
  """
  return x.max(axes)


def _maximum_forward(x, axes):
  y = x.max(axes, keepdims=True)
  bits = (x == y).astype(jnp.uint8) << _positions(x.ndim, axes)
  return y.squeeze(axes), bits.sum(axes, keepdims=True, dtype=jnp.uint8)


def _maximum_backward(axes, bits, cotangent):
  count = jax.lax.population_count(bits).astype(cotangent.dtype)
  largest = (bits >> _positions(bits.ndim, axes)) & 1
  share = jnp.expand_dims(cotangent, axes) / count
  return (jnp.where(largest == 1, share, 0),)


def _positions(rank: int, axes: tuple[int, int]) -> np.ndarray:
  """Numbers 0..3, laid along the axes."""
  others = [axis - rank for axis in range(rank) if axis - rank not in axes]
  return np.expand_dims(np.arange(4, dtype=np.uint8).reshape(2, 2), others)


maximum.defvjp(_maximum_forward, _maximum_backward)
