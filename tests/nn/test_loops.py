"""A scan with kernels outside the loop is the plain scan."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params

from dreamer_nnx.nn import loops
from dreamer_nnx.nn.linear import BlockLinear, Linear
from dreamer_nnx.nn.mlp import NormAct
from dreamer_nnx.nn.precision import Precision
from tests.filling import filled

T, B = 5, 3
RNG = np.random.default_rng(0)
XS = {
  'x': RNG.normal(size=(T, B, 4)).astype(np.float32),
  'keep': RNG.random((T, B)) < 0.7,
}
CARRY = RNG.normal(size=(B, 8)).astype(np.float32)
WEIGHTS = RNG.normal(size=(T, B, 8)).astype(np.float32)
# Of the layers below.
KERNELS = ((12, 8), (2, 12, 4), (2, 4, 8))


class Cell(nnx.Module):
  """Every kind of product, twice the same layer, and a norm between."""

  def __init__(self, rngs, device='cpu'):
    kw = dict(precision=Precision('float32', device=device), rngs=rngs)
    self.first = Linear(12, 8, **kw)
    self.blocks = BlockLinear(8 + 2 * 8, 8, 2, **kw)
    self.gates = BlockLinear(8, 16, 2, **kw)
    self.norm_act = NormAct(8)

  def __call__(self, carry, x):
    carry = jnp.where(x['keep'][:, None], carry, 0)
    h = self.first.split(carry, 0) + self.first.split(x['x'], 8)
    h = self.blocks.shared(self.norm_act(h), carry)
    a, b = self.gates.split(h, 2)
    new = (jnp.tanh(a) * b).reshape(carry.shape)
    new = self.first(jnp.concatenate([new, x['x']], -1))
    return new, new * 2


def results(scan, device):
  """Outputs, and gradients to parameters, carry and inputs."""
  cell = filled(lambda rngs: Cell(rngs, device))
  graph, state = nnx.split(cell)

  def total(state, carry, x):
    cell = nnx.merge(graph, state)
    carry, ys = scan(cell, carry, XS | {'x': x})
    return (ys * WEIGHTS).sum() + carry.sum(), (carry, ys)

  run = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))
  return run(state, CARRY, XS['x'])


@pytest.mark.parametrize(
  ('device', 'remat'), [('cpu', False), ('cpu', True), ('accelerator', False)]
)
def test_equal_to_a_plain_scan_with_its_gradients(device, remat):
  scan = functools.partial(loops.scan, remat=remat)
  found, expected = (results(form, device) for form in (scan, jax.lax.scan))
  pairs = zip(*map(jax.tree.leaves, (found, expected)), strict=True)
  for a, b in pairs:
    # Sums over steps are made in another order.
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def made_in_loops(jaxpr, inside=False):
  """Shapes of all that a program computes at each step of its loops."""
  shapes = set()
  for eqn in jaxpr.eqns:
    if inside:
      shapes |= {x.aval.shape for x in eqn.outvars}
    for part in jaxprs_in_params(eqn.params):
      shapes |= made_in_loops(part, inside or eqn.primitive.name == 'scan')
  return shapes


@pytest.mark.parametrize(
  ('scan', 'made'), [(loops.scan, False), (jax.lax.scan, True)]
)
def test_no_gradient_as_large_as_a_kernel_is_made_at_each_step(scan, made):
  graph, state = nnx.split(filled(Cell))

  def total(state):
    return scan(nnx.merge(graph, state), CARRY, XS)[1].sum()

  found = made_in_loops(jax.make_jaxpr(jax.grad(total))(state))
  assert (B, 8) in found
  assert all((kernel in found) == made for kernel in KERNELS)


def test_outside_of_a_loop_a_product_is_a_product():
  x, kernel = np.float32([[1, 2]]), np.float32([[3], [4]])
  y = loops.product(x, kernel, lambda k: 2 * k, jnp.matmul)
  np.testing.assert_array_equal(y, [[22]])


def checkpointed(cell, carry, x):
  return jax.checkpoint(cell)(carry, x)


def by_row(cell, carry, x):
  rows = lambda carry, x: jax.tree.map(
    lambda y: y[0], cell(carry[None], jax.tree.map(lambda y: y[None], x))
  )
  return jax.vmap(rows)(carry, x)


def on_condition(cell, carry, x):
  return jax.lax.cond(carry.sum() > -1e9, cell, lambda c, _: (c, c), carry, x)


def twice(cell, carry, x):
  again = lambda carry, _: cell(carry, x)
  carry, ys = jax.lax.scan(again, carry, jnp.arange(2))
  return carry, ys[-1]


def twice_likewise(cell, carry, x):
  again = lambda carry, x: cell(carry, x)
  both = jax.tree.map(lambda y: jnp.stack([y, y]), x)
  carry, ys = loops.scan(again, carry, both)
  return carry, ys[-1]


def mixed(cell, carry, x):
  carry, _ = cell(carry, x)
  carry, _ = by_row(cell, carry, x)
  return cell(carry, x)


INSIDE = (
  checkpointed,
  by_row,
  on_condition,
  twice,
  twice_likewise,
  mixed,
)


@pytest.mark.parametrize('inside', INSIDE)
@pytest.mark.parametrize('remat', [False, True])
def test_bodies_may_use_any_transformation(inside, remat):
  graph, state = nnx.split(filled(Cell))

  def total(scan, state, carry):
    body = functools.partial(inside, nnx.merge(graph, state))
    carry, ys = scan(body, carry, XS)
    return (ys * WEIGHTS).sum() + carry.sum()

  ours = functools.partial(loops.scan, remat=remat)
  found, expected = (
    jax.jit(jax.value_and_grad(functools.partial(total, form), (0, 1)))(
      state, CARRY
    )
    for form in (ours, jax.lax.scan)
  )
  pairs = zip(*map(jax.tree.leaves, (found, expected)), strict=True)
  for a, b in pairs:
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
