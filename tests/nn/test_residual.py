"""Residual blocks: what is added, and how many numbers they work on."""

import jax
import numpy as np

from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.residual import ResidualBlock
from tests.filling import filled


def block_of(kernel=3, norm='rms', act='silu', device='auto'):
  kw = dict(norm=norm, act=act, winit='normal_in')
  precision = Precision('float32', device=device)
  return filled(
    lambda rngs: ResidualBlock(4, kernel, **kw, precision=precision, rngs=rngs)
  )


def images():
  return np.random.default_rng(0).normal(size=(2, 5, 6, 4)).astype(np.float32)


def test_the_block_is_added_to_its_input():
  block, x = block_of(), images()
  y = x
  for norm_act, conv in zip(block.norm_acts, block.convs, strict=True):
    y = conv(jax.nn.silu(norm_act.norm(y)))
  np.testing.assert_allclose(jax.jit(block)(x), x + y, atol=1e-5)
  last = block.convs[1]
  last.kernel[...], last.bias[...] = 0 * last.kernel[...], 0 * last.bias[...]
  np.testing.assert_array_equal(block(x), x)


def test_a_pixel_sees_as_far_as_two_kernels_reach():
  block, x = block_of(norm='none'), np.zeros((1, 9, 9, 4), np.float32)
  other = x.copy()
  other[0, 4, 4] = 1
  call = jax.jit(block)
  changed = np.asarray(call(x) != call(other)).any((0, 3))
  expected = np.zeros((9, 9), bool)
  expected[2:7, 2:7] = True
  np.testing.assert_array_equal(changed, expected)


def test_numbers_of_patches_count_the_kernel():
  assert block_of(kernel=5).patch_numbers(3, 7) == 3 * 7 * 25 * 4
