"""Affine maps: parts and blocks equal the whole."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx.nn.forms import FEW_ROWS
from dreamer_nnx.nn.linear import BlockLinear, Linear
from dreamer_nnx.nn.precision import Precision
from tests.filling import filled

RNG = np.random.default_rng(0)
# Sums of about ten products of numbers near 1, in another order.
ROUNDING = 1e-5


def random(*shape):
  return RNG.normal(size=shape).astype(np.float32)


def make_linear(**kw):
  return filled(lambda rngs: Linear(6, 4, precision=Precision(**kw), rngs=rngs))


@pytest.fixture(scope='module')
def blocks():
  """Three groups of 2 + 3 inputs and 4 outputs."""
  return filled(
    lambda rngs: BlockLinear(15, 12, 3, precision=Precision(), rngs=rngs)
  )


def test_linear_is_a_product_and_a_bias():
  linear, x = make_linear(), random(5, 2, 6)
  kernel, bias = np.asarray(linear.kernel[...]), np.asarray(linear.bias[...])
  np.testing.assert_allclose(linear(x), x @ kernel + bias, atol=ROUNDING)


def test_linear_of_a_concatenation_is_the_sum_of_its_parts():
  linear, left, right = make_linear(), random(3, 2), random(3, 4)
  parts = linear.split(left, 0) + linear.split(right, 2) + linear.bias[...]
  whole = linear(np.concatenate([left, right], -1))
  np.testing.assert_allclose(parts, whole, atol=ROUNDING)


def test_linear_computes_in_the_format_of_its_input():
  linear = make_linear()
  assert linear.kernel[...].dtype == jnp.float32
  assert linear(jnp.ones((2, 6), jnp.bfloat16)).dtype == jnp.bfloat16
  assert linear.split(jnp.ones((2, 6), jnp.bfloat16), 0).dtype == jnp.bfloat16
  small = make_linear(param='bfloat16')
  assert small.kernel[...].dtype == small.bias[...].dtype == jnp.bfloat16
  assert small(jnp.ones((2, 6))).dtype == jnp.float32


def test_new_layers_have_no_bias_and_may_be_zero():
  linear = Linear(6, 4, outscale=0.0, precision=Precision(), rngs=nnx.Rngs(0))
  np.testing.assert_array_equal(linear(random(2, 6)), np.zeros((2, 4)))


def test_blocks_equal_a_block_diagonal_matrix(blocks):
  x, kernel = random(2, 7, 15), np.zeros((15, 12), np.float32)
  for g in range(3):
    kernel[5 * g : 5 * g + 5, 4 * g : 4 * g + 4] = blocks.kernel[...][g]
  expected = x @ kernel + np.asarray(blocks.bias[...])
  np.testing.assert_allclose(jax.jit(blocks)(x), expected, atol=ROUNDING)


@pytest.mark.parametrize('rows', [7, FEW_ROWS])
def test_shared_equals_concatenate_and_call(blocks, rows):
  x, common = random(2, rows, 6), random(2, rows, 3)
  grouped = x.reshape(2, rows, 3, 2)
  repeated = np.broadcast_to(common[..., None, :], (2, rows, 3, 3))
  joined = np.concatenate([grouped, repeated], -1).reshape(2, rows, 15)
  found = jax.jit(BlockLinear.shared)(blocks, x, common)
  np.testing.assert_allclose(found, blocks(joined), atol=ROUNDING)


def test_bfloat16_blocks_are_near_float32(blocks):
  x, common = random(9, 6), random(9, 3)
  shared = jax.jit(BlockLinear.shared)
  found = shared(blocks, *(jnp.asarray(y, jnp.bfloat16) for y in (x, common)))
  assert found.dtype == jnp.bfloat16
  exact = shared(blocks, x, common)
  # 8 bits of mantissa, on values up to 4.
  np.testing.assert_allclose(found.astype(np.float32), exact, atol=0.06)


@pytest.mark.parametrize(
  ('sizes', 'name', 'size'), [((10, 9), 'inputs', 10), ((9, 10), 'outputs', 10)]
)
def test_sizes_that_do_not_split_are_refused(sizes, name, size):
  message = (
    f'{name} of a block-diagonal map, {size}, must be a multiple of its 3'
  )
  with pytest.raises(ValueError, match=re.escape(message)):
    BlockLinear(*sizes, 3, precision=Precision(), rngs=nnx.Rngs(0))
