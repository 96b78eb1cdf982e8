"""Convolutions over (N, H, W, C) images, zero-padded to keep the size."""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dreamer_nnx.nn import forms
from dreamer_nnx.nn.initializers import Winit, initialize
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.schema import Weight


class Conv(nnx.Module):
  """Convolution y = x * W + b.

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
    winit: Winit = 'trunc_normal_in',
    outscale: Weight = 1.0,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    shape = (kernel, kernel, inputs, outputs)
    weights = initialize(winit, rngs.params(), shape, outscale)
    dtype = precision.param_dtype
    axes = ('height', 'width', 'inputs', 'outputs')
    self.kernel = nnx.Param(weights.astype(dtype), axes=axes)
    self.bias = nnx.Param(jnp.zeros((outputs,), dtype), axes=('outputs',))
    self.stride = stride
    self.precision = precision

  def __call__(self, x: jax.Array) -> jax.Array:
    if self.stride == 1:
      return self._convolve(x, self.kernel[...]) + self._bias(x)
    kernel = self.kernel[...].astype(x.dtype)
    return forms.native(x, kernel, self.stride) + self._bias(x)

  def patch_numbers(self, height: int, width: int) -> int:
    """Counts the numbers that the patches of an image of this size hold."""
    return height * width * math.prod(self.kernel.shape[:3])

  def upsampling(self) -> Callable[[jax.Array], jax.Array]:
    """Makes a function: the convolution of x repeated 2x in height and width.

    Taps that read the same source pixel are added up beforehand, so that one
    small convolution to 4x the channels on the small map does the same sum.
    """
    fold = upsampling_fold(self.kernel.shape[0])
    kernel = jnp.einsum('ayk,bxl,klio->yxiabo', fold, fold, self.kernel[...])
    # (S, S, I, 2, 2, O) to (S, S, I, 2·2·O).
    kernel = kernel.reshape(*kernel.shape[:3], -1)

    def upsampled(x):
      y = depth_to_space(self._convolve(x, kernel), self.kernel.shape[-1])
      return y + self._bias(x)

    return upsampled

  def pooling(self, images: int) -> Callable[[jax.Array], jax.Array]:
    """Makes a function: the maximum over 2x2 windows of the convolution.

    The four results of a window are made side by side, by one smaller
    convolution of the four inputs of each window, where that is faster.
    """
    size, _, inputs, outputs = self.kernel.shape
    if not forms.folds_windows(inputs, images, self.precision):
      plain = self.kernel[...]
      return lambda x: max_pool(self._convolve(x, plain)) + self._bias(x)
    fold = pooling_fold(size)
    kernel = jnp.einsum(
      'aybk,cxdl,klio->yxbdiaco', fold, fold, self.kernel[...]
    )
    # (S, S, 2, 2, I, 2, 2, O) to (S, S, 2·2·I, 2·2·O).
    kernel = kernel.reshape(*kernel.shape[:2], 4 * inputs, 4 * outputs)

    def pooled(x):
      y = self._convolve(space_to_depth(x), kernel)
      return maximum(jnp.split(y, 4, -1)) + self._bias(x)

    return pooled

  def transposed(self, x: jax.Array) -> jax.Array:
    """Convolves with a fractional stride: repeat 2x, keep odd positions."""
    # (N, H, W, C) to (N, 2H, 2W, C).
    x = x.repeat(2, -2).repeat(2, -3)
    rows = jnp.arange(x.shape[-3]) % 2 == 1
    columns = jnp.arange(x.shape[-2]) % 2 == 1
    x = x * (rows[:, None] & columns[None, :])[..., None].astype(x.dtype)
    return self(x)

  def _convolve(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return forms.convolve(x, kernel, self.precision)

  def _bias(self, x: jax.Array) -> jax.Array:
    return self.bias[...].astype(x.dtype)


def upsampling_fold(size: int) -> np.ndarray:
  """Tells which tap reads which source pixel after nearest 2x upsampling.

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
  # (2, 1, size) beside (1, S, 1).
  return (source[:, None] == offsets[None, :, None]).astype(np.float32)


def pooling_fold(size: int) -> np.ndarray:
  """Tells which tap reads which pixel of which 2x2 window.

  Args:
    size: Taps of the kernel along one axis.

  Returns:
    (2, S, 2, size): entry [a, s, b, t] is 1 where, for pixel a of window y, tap
    t reads pixel b of window y + s - S // 2. S is odd.
  """
  taps = np.arange(size) - (size - 1) // 2
  read = np.arange(2)[:, None] + taps
  reach = np.abs(read // 2).max()
  # (2·S,) to (S, 2).
  pixels = np.arange(-2 * reach, 2 * reach + 2).reshape(-1, 2)
  # (2, 1, 1, size) beside (1, S, 2, 1).
  return (read[:, None, None] == pixels[None, :, :, None]).astype(np.float32)


def depth_to_space(x: jax.Array, channels: int) -> jax.Array:
  """Spreads channels out: (N, H, W, 2·2·C) to (N, 2H, 2W, C)."""
  n, h, w, _ = x.shape
  # (N, H, W, a, b, C) to (N, H, a, W, b, C).
  x = x.reshape(n, h, w, 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(n, 2 * h, 2 * w, channels)


def space_to_depth(x: jax.Array) -> jax.Array:
  """Gathers 2x2 windows: (N, 2H, 2W, C) to (N, H, W, 2·2·C)."""
  n, h, w, c = x.shape
  # (N, H, a, W, b, C) to (N, H, W, a, b, C).
  x = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(n, h // 2, w // 2, 4 * c)


def max_pool(x: jax.Array) -> jax.Array:
  """Takes the maximum of 2x2 windows; equal maxima share the gradient."""
  *n, h, w, c = x.shape
  # (..., 2H, 2W, C) to (..., H, 2, W, 2, C).
  x = x.reshape(*n, h // 2, 2, w // 2, 2, c)
  return maximum([x[..., i, :, j, :] for i in range(2) for j in range(2)])


@jax.custom_vjp
def maximum(parts: Sequence[jax.Array]) -> jax.Array:
  """Takes the elementwise maximum of up to 8 arrays.

  Equal maxima share the gradient.
  The backward pass remembers which were largest, one bit each.
  """
  return functools.reduce(jnp.maximum, parts)


def _maximum_forward(parts):
  y = maximum(parts)
  bits = [(part == y).astype(jnp.uint8) << i for i, part in enumerate(parts)]
  bits = functools.reduce(jnp.bitwise_or, bits)
  # Or XLA makes the bits when they are read, and keeps all parts so long.
  y, bits = jax.lax.optimization_barrier((y, bits))
  return y, (bits, [None] * len(parts))


def _maximum_backward(residuals, cotangent):
  bits, parts = residuals
  share = cotangent / jax.lax.population_count(bits).astype(cotangent.dtype)
  largest = [bits & (1 << i) != 0 for i in range(len(parts))]
  return ([jnp.where(mask, share, 0) for mask in largest],)


maximum.defvjp(_maximum_forward, _maximum_backward)
