"""Attention that has neither a bias nor a mask; with them: tests/dynamics."""

import jax
import numpy as np
import pytest

from dreamer_nnx.nn.attention import Attention, Block, Steps
from dreamer_nnx.nn.precision import Precision
from tests.filling import filled

KW = dict(winit='normal_in', precision=Precision('float32'))
X = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)


@pytest.mark.parametrize('kv_heads', [1, 4])
def test_it_is_that_of_jax(kv_heads):
  attention = filled(lambda rngs: Attention(8, 4, kv_heads, 0, **KW, rngs=rngs))
  assert not hasattr(attention, 'bias')
  queries, keys, values = attention.project(X)
  split = lambda x: x.reshape(2, 5, -1, 2)
  expected = jax.nn.dot_product_attention(*map(split, (queries, keys, values)))
  expected = attention.out(expected.reshape(2, 5, 8))
  found = attention(queries, [Steps(keys, values)])
  np.testing.assert_allclose(found, expected, atol=1e-5)
  parts = [Steps(x, y) for x, y in ((keys[:, :2], values[:, :2]),)]
  parts += [Steps(keys[:, 2:], values[:, 2:])]
  np.testing.assert_allclose(attention(queries, parts), found, atol=1e-5)


def test_what_is_not_visible_counts_for_nothing():
  attention = filled(lambda rngs: Attention(8, 2, 2, 0, **KW, rngs=rngs))
  queries, keys, values = attention.project(X)
  visible = np.broadcast_to(np.arange(5) < 3, (2, 5, 5))
  found = attention(queries, [Steps(keys, values, visible=visible)])
  expected = attention(queries, [Steps(keys[:, :3], values[:, :3])])
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_block_adds_both_parts_to_its_input():
  kw = dict(norm='layer', act='gelu', **KW)
  block = filled(lambda rngs: Block(8, 2, 2, 0, **kw, rngs=rngs))
  queries, keys, values = block.project(X)
  steps = [Steps(keys, values)]
  y = X + block.attention(queries, steps)
  expected = y + block.down(jax.nn.gelu(block.up(block.norm_mid(y))))
  np.testing.assert_allclose(block(X, queries, steps), expected, atol=1e-5)
