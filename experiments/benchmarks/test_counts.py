"""Tests of the numbers that the timing programs count."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import flops
from experiments.benchmarks.loop import Timer

TEXT = """
%body.1 (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %inner = f32[8] fusion(%p), backend_config={"estimated_cycles":"30"}
}

%condition.1 (p: (s32[], f32[8])) -> pred[] {
  %limit = s32[] constant(7)
}

%branch (p: f32[8]) -> f32[8] {
  %rare = f32[8] fusion(%p), backend_config={"estimated_cycles":"5"}
}

ENTRY %main (a: f32[8]) -> f32[8] {
  %first = f32[8] fusion(%a), backend_config={"estimated_cycles":"1000"}
  %loop = (s32[], f32[8]) while(%t), condition=%condition.1, body=%body.1
  ROOT %last = f32[8] call(%x), to_apply=%branch
}
"""


def test_flops_of_products_in_and_out_of_loops():
  def function(x, kernel):
    x = x @ kernel
    body = lambda x, _: (jnp.tanh(x @ kernel), None)
    return jax.lax.scan(body, x, None, length=5)[0]

  x, kernel = np.ones((3, 4)), np.ones((4, 4))
  found = flops.count(jax.make_jaxpr(function)(x, kernel))
  assert found == (1 + 5) * 2 * 3 * 4 * 4


def test_flops_of_a_convolution():
  def function(x, kernel):
    return jax.lax.conv_general_dilated(
      x, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )

  x, kernel = np.ones((2, 6, 7, 3)), np.ones((5, 5, 3, 4))
  found = flops.count(jax.make_jaxpr(jax.jit(function))(x, kernel))
  assert found == 2 * (2 * 6 * 7 * 4) * (5 * 5 * 3)


def test_cycles_of_loops_are_counted_by_trips(monkeypatch):
  # The module is made for the CPU's process; it must not change this one's.
  for name in ('TPU_SKIP_MDS_QUERY', 'TPU_ACCELERATOR_TYPE', 'JAX_PLATFORMS'):
    monkeypatch.setenv(name, 'cpu')
  monkeypatch.setenv('TPU_WORKER_HOSTNAMES', 'localhost')
  from experiments.benchmarks.tpu import Module

  module = Module(TEXT)
  assert module.total == 1000 + 7 * 30 + 5
  assert module.loops == [('body.1', 7, 30)]
  assert module.operations == {'first': 1000, 'inner': 210, 'rare': 5}
  assert module.times['inner'] == 7


def test_a_timer_counts_inner_calls_once():
  # Read at the start and end of outer, first inner, second inner.
  timer = Timer(iter([0.0, 1.0, 5.0, 6.0, 8.0, 11.0]).__next__)
  inner = timer('inner', lambda: None)
  timer('outer', lambda: (inner(), inner()))()
  assert timer.seconds == {'inner': 4.0 + 2.0, 'outer': 1.0 + 1.0 + 3.0}
