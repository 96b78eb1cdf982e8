"""Convolutions: the fast forms equal the plain ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.nn.conv import (
  Conv,
  depth_to_space,
  max_pool,
  maximum,
  upsampling_fold,
)
from dreamer_nnx.nn.forms import MANY_IMAGES, native, product
from dreamer_nnx.nn.precision import Precision
from tests.filling import filled

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 5, 3)).astype(np.float32)
# Sums of up to 7 · 7 · 3 products of numbers near 1, in another order.
ROUNDING = 1e-4


def upsampled(conv, x):
  return conv.upsampling()(x)


def pooled(conv, x):
  return conv.pooling(MANY_IMAGES)(x)


def make(kernel, stride=1, device='cpu'):
  precision = Precision('float32', device=device)
  return filled(
    lambda rngs: Conv(
      3, 2, kernel, stride=stride, precision=precision, rngs=rngs
    ),
    seed=kernel,
  )


def slow(conv, x):
  """Convolution written out, zero-padded to keep the size."""
  kernel, bias = np.asarray(conv.kernel[...]), np.asarray(conv.bias[...])
  size, (_, height, width, _) = len(kernel), x.shape
  before = (size - 1) // 2
  pad = (before, size - 1 - before)
  x = np.pad(x, [(0, 0), pad, pad, (0, 0)])
  result = np.zeros((len(x), height, width, len(bias)), np.float32) + bias
  for i in range(size):
    for j in range(size):
      result += x[:, i : i + height, j : j + width] @ kernel[i, j]
  return result


@pytest.mark.parametrize('kernel', [1, 2, 5])
def test_equal_to_a_loop_over_the_kernel(kernel):
  conv = make(kernel)
  np.testing.assert_allclose(conv(X), slow(conv, X), atol=ROUNDING)


@pytest.mark.parametrize('kernel', [1, 2, 3, 4, 5, 7])
def test_upsampled_equals_repeat_and_convolve(kernel):
  conv = make(kernel)
  expected = slow(conv, X.repeat(2, 1).repeat(2, 2))
  found = jax.jit(upsampled)(conv, X)
  np.testing.assert_allclose(found, expected, atol=ROUNDING)


@pytest.mark.parametrize('kernel', [4, 5])
def test_transposed_equals_convolving_the_spread_out_image(kernel):
  conv = make(kernel)
  spread = np.zeros((2, 8, 10, 3), np.float32)
  spread[:, 1::2, 1::2] = X
  found = jax.jit(Conv.transposed)(conv, X)
  np.testing.assert_allclose(found, slow(conv, spread), atol=ROUNDING)


def test_stride_keeps_every_second_position():
  # With an odd kernel on an even side SAME pads one less on the left.
  x, conv = np.pad(X, [(0, 0), (0, 0), (0, 1), (0, 0)]), make(5, stride=2)
  found = conv(x)
  assert found.shape == (2, 2, 3, 2)
  np.testing.assert_allclose(found, slow(conv, x)[:, 1::2, 1::2], atol=ROUNDING)


def test_bfloat16_is_near_float32():
  conv = make(5)
  found = jax.jit(upsampled)(conv, jnp.asarray(X, jnp.bfloat16))
  assert found.dtype == jnp.bfloat16
  exact = slow(conv, X.repeat(2, 1).repeat(2, 2))
  # 8 bits of mantissa, on values up to 5.
  np.testing.assert_allclose(found.astype(np.float32), exact, atol=0.1)


def test_fold_of_three_taps_by_hand():
  # At the left pixel of a pair the taps read sources -1, 0, 0; at the right
  # one 0, 0, 1.
  left = [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
  right = [[0, 0, 0], [1, 1, 0], [0, 0, 1]]
  np.testing.assert_array_equal(upsampling_fold(3), [left, right])


@pytest.mark.parametrize('size', range(1, 8))
def test_every_tap_reads_one_source_pixel(size):
  fold = upsampling_fold(size)
  assert fold.shape[1] % 2 == 1
  np.testing.assert_array_equal(fold.sum(1), np.ones((2, size)))


def test_depth_to_space_undoes_space_to_depth():
  image = np.arange(2 * 6 * 4 * 3).reshape(2, 6, 4, 3)
  blocks = image.reshape(2, 3, 2, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5)
  found = depth_to_space(blocks.reshape(2, 3, 2, 12), 3)
  np.testing.assert_array_equal(found, image)


def test_max_pool_by_hand():
  image = np.float32([[1, 7, 3, 0], [2, -1, 4, 9]])[None, :, :, None]
  image = np.concatenate([image, -image], -1)
  np.testing.assert_array_equal(max_pool(image), [[[[7, 1], [9, 0]]]])


@pytest.mark.parametrize('kernel', [1, 2, 3, 4, 5, 7])
def test_pooled_equals_convolving_and_pooling(kernel):
  conv, x = make(kernel), np.pad(X, [(0, 0), (0, 0), (0, 1), (0, 0)])
  assert_same(pooled, lambda conv, x: max_pool(conv(x)), conv, x)


@pytest.mark.parametrize('outputs', [2, 9])
@pytest.mark.parametrize('size', [4, 5])
def test_products_equal_the_native_convolution(size, outputs):
  kernel = RNG.normal(size=(size, size, 3, outputs)).astype(np.float32)
  assert_same(product, native, X, kernel)
  # With gradients the result is computed in another way than without.
  found, _ = jax.vjp(product, X, kernel)
  np.testing.assert_allclose(found, native(X, kernel), atol=ROUNDING)


@pytest.mark.parametrize('form', [upsampled, pooled, Conv.__call__])
def test_the_device_changes_the_form_and_not_the_result(form):
  x = np.pad(X, [(0, 0), (0, 0), (0, 1), (0, 0)])
  cpu, other = (make(5, device=name) for name in ('cpu', 'accelerator'))
  assert cpu.precision.on_cpu and not other.precision.on_cpu
  found, expected = (jax.jit(form)(conv, x) for conv in (cpu, other))
  np.testing.assert_allclose(found, expected, atol=ROUNDING)


def test_equal_maxima_share_the_gradient():
  x = jnp.asarray([[1.0, 1.0], [0.0, 1.0]]).reshape(1, 2, 2, 1)
  grad = jax.grad(lambda x: max_pool(x).sum())(x)
  np.testing.assert_allclose(grad[0, :, :, 0], [[1 / 3, 1 / 3], [0, 1 / 3]])


def test_maximum_of_many_is_elementwise():
  parts = [np.float32([1, 5]), np.float32([3, 5]), np.float32([2, 4])]
  np.testing.assert_array_equal(maximum(parts), [3, 5])
  grads = jax.grad(lambda parts: maximum(parts).sum())(parts)
  np.testing.assert_array_equal(grads, [[0, 0.5], [1, 0.5], [0, 0]])


def assert_same(found, expected, *args):
  """Equal results, and equal gradients of a random projection of them."""
  weights = RNG.normal(size=expected(*args).shape).astype(np.float32)

  def both(function):
    project = lambda *args: (function(*args) * weights).sum()
    results = function(*args), jax.grad(project, argnums=(0, 1))(*args)
    return jax.tree.leaves(results)

  for a, b in zip(both(found), both(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=10 * ROUNDING)
