"""Dense and block-diagonal affine maps."""

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx.errors import UserError
from dreamer_nnx.nn import forms
from dreamer_nnx.nn.initializers import Winit, initialize
from dreamer_nnx.nn.loops import looping, product
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.schema import Weight


class Linear(nnx.Module):
  """Affine map y = x W + b, computed in the format of x.

  Args:
    inputs, outputs: Sizes of the last axis.
    winit: Name of the kernel's initialiser; the bias starts at 0.
    outscale: Multiplies the initial kernel.
  """

  def __init__(
    self,
    inputs: int,
    outputs: int,
    *,
    winit: Winit = 'trunc_normal_in',
    outscale: Weight = 1.0,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    kernel = initialize(winit, rngs.params(), (inputs, outputs), outscale)
    dtype = precision.param_dtype
    self.kernel = nnx.Param(kernel.astype(dtype), axes=('inputs', 'outputs'))
    self.bias = nnx.Param(jnp.zeros((outputs,), dtype), axes=('outputs',))

  def __call__(self, x: jax.Array) -> jax.Array:
    prepare = lambda params: [array.astype(x.dtype) for array in params]
    affine = lambda x, params: x @ params[0] + params[1]
    return product(x, [self.kernel[...], self.bias[...]], prepare, affine)

  def split(self, x: jax.Array, start: int) -> jax.Array:
    """Multiplies x by the kernel rows from `start` on, without the bias.

    A product with a concatenation is a sum of products, so that parts which a
    loop does not change can be computed once outside it.
    """
    rows = slice(start, start + x.shape[-1])
    prepare = lambda kernel: kernel[rows].astype(x.dtype)
    return product(x, self.kernel[...], prepare, jnp.matmul)


class BlockLinear(nnx.Module):
  """Block-diagonal linear map: G groups of the input, each with its kernel.

  y = concat_g(x_g W_g) + b with W (G, I/G, O/G). The fan-in counts G as space.

  Args:
    inputs, outputs: Sizes I and O, multiples of `blocks`.
    blocks: G.
  """

  def __init__(
    self,
    inputs: int,
    outputs: int,
    blocks: int,
    *,
    winit: Winit = 'trunc_normal_in',
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    for name, size in (('inputs', inputs), ('outputs', outputs)):
      if size % blocks:
        raise UserError(
          f'the {name} of a block-diagonal map, {size}, must be a multiple of '
          f'its {blocks} blocks.'
        )
    self.precision = precision
    shape = (blocks, inputs // blocks, outputs // blocks)
    kernel = initialize(winit, rngs.params(), shape)
    axes = ('blocks', 'inputs', 'outputs')
    dtype = precision.param_dtype
    self.kernel = nnx.Param(kernel.astype(dtype), axes=axes)
    self.bias = nnx.Param(jnp.zeros((outputs,), dtype), axes=('outputs',))

  def __call__(self, x: jax.Array) -> jax.Array:
    blocks, inputs, _ = self.kernel.shape
    # (..., I) to (..., G, I/G); the outputs (..., G, O/G) to (..., O).
    grouped = x.reshape(*x.shape[:-1], blocks, inputs)
    y = self._product(grouped, slice(None), slice(None))
    return y.reshape(*x.shape[:-1], -1)

  def split(self, x: jax.Array, count: int) -> list[jax.Array]:
    """Splits the outputs of each group: `count` times (..., G, O/G/count)."""
    blocks, inputs, outputs = self.kernel.shape
    size = outputs // count
    ranges = [slice(i * size, (i + 1) * size) for i in range(count)]
    if forms.one_product(self.precision):
      # (..., O) to (..., G, O/G).
      y = self(x).reshape(*x.shape[:-1], blocks, outputs)
      return [y[..., part] for part in ranges]
    # (..., I) to (..., G, I/G).
    grouped = x.reshape(*x.shape[:-1], blocks, inputs)
    return [self._product(grouped, slice(None), part) for part in ranges]

  def shared(self, x: jax.Array, common: jax.Array) -> jax.Array:
    """Maps [x_g, common] for every group g.

    `common` is not repeated, unless there are few rows.

    Args:
      x: (..., G * I₁), split into groups.
      common: (..., I₂), the same for all groups; I₁ + I₂ = I/G.

    Returns:
      (..., O).
    """
    blocks, inputs, _ = self.kernel.shape
    size = inputs - common.shape[-1]
    # (..., G·I₁) to (..., G, I₁).
    grouped = x.reshape(*x.shape[:-1], blocks, size)
    if not looping() and forms.few_rows(*x.shape[:-1]):
      shape = (*x.shape[:-1], blocks, common.shape[-1])
      repeated = jnp.broadcast_to(common[..., None, :], shape)
      joined = jnp.concatenate([grouped, repeated], -1)
      # (..., G, I₁ + I₂) to (..., I).
      return self(joined.reshape(*x.shape[:-1], -1))
    y = self._product(grouped, slice(size), slice(None))

    def side_by_side(kernel):
      # (G, I₂, O/G) to (I₂, G, O/G), and to (I₂, O).
      rows = kernel[:, size:].astype(x.dtype).swapaxes(0, 1)
      return rows.reshape(common.shape[-1], -1)

    # (..., G, O/G) to (..., O).
    y = y.reshape(*x.shape[:-1], -1)
    return y + product(common, self.kernel[...], side_by_side, jnp.matmul)

  def _product(
    self, grouped: jax.Array, rows: slice, columns: slice
  ) -> jax.Array:
    """Maps (..., G, I') to (..., G, O') by rows and columns of each block."""

    def prepare(params):
      kernel, bias = (array.astype(grouped.dtype) for array in params)
      # (O,) to (G, O/G).
      bias = bias.reshape(len(kernel), -1)
      return kernel[:, rows, columns], bias[:, columns]

    affine = lambda x, params: _by_block(x, params[0]) + params[1]
    return product(grouped, [self.kernel[...], self.bias[...]], prepare, affine)


def _by_block(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Multiplies (..., G, I) by (G, I, O) to (..., G, O).

  As a product with x on the left. An einsum puts the kernel there, and so the
  outputs far apart in memory, which makes what follows several times slower.
  """
  group = x.ndim - 2
  dims = (((group + 1,), (1,)), ((group,), (0,)))
  # (G, ..., O) to (..., G, O).
  return jnp.moveaxis(jax.lax.dot_general(x, kernel, dims), 0, -2)
