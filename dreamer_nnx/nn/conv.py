"""Convolutions over (N, H, W, C) images, zero-padded to keep the size."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dreamer_nnx.nn.initializers import initialize
from dreamer_nnx.nn.precision import Precision

LAYOUT = ('NHWC', 'HWIO', 'NHWC')


def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
  """SAME convolution in the format of x."""
  return jax.lax.conv_general_dilated(
    x,
    kernel.astype(x.dtype),
    (stride, stride),
    'SAME',
    dimension_numbers=LAYOUT,
  )


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
    y = convolve(x, self.kernel[...], self.stride)
    return y + self.bias[...].astype(x.dtype)

  def upsampled(self, x: jax.Array) -> jax.Array:
    """The convolution of x repeated 2x in height and width.

    Taps that read the same source pixel are added up beforehand, so that one
    small convolution to 4x the channels on the small map does the same sum.
    """
    fold = upsampling_fold(self.kernel.shape[0])
    kernel = jnp.einsum('ayk,bxl,klio->yxiabo', fold, fold, self.kernel[...])
    y = convolve(x, kernel.reshape(*kernel.shape[:3], -1))
    y = depth_to_space(y, kernel.shape[-1])
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


def max_pool(x: jax.Array) -> jax.Array:
  """Maximum over 2x2 windows."""
  *n, h, w, c = x.shape
  return x.reshape(*n, h // 2, 2, w // 2, 2, c).max((-4, -2))
