"""The block GRU: equal to its equations written out group by group."""

import re

import jax
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx.dynamics.core import BlockGRU
from dreamer_nnx.nn.precision import Precision
from tests.filling import filled

D, S, A, U, G = 12, 6, 3, 4, 3
RNG = np.random.default_rng(0)
DETER = RNG.normal(size=(5, D)).astype(np.float32)
STOCH = RNG.normal(size=(5, S)).astype(np.float32)
ACTION = RNG.uniform(-1, 1, (5, A)).astype(np.float32)


def build(rngs, deter=D, layers=1, device='cpu'):
  return BlockGRU(
    deter,
    S,
    A,
    hidden=U,
    blocks=G,
    layers=layers,
    act='silu',
    norm='rms',
    winit='trunc_normal_in',
    precision=Precision('float32', device=device),
    rngs=rngs,
  )


def make(**kw):
  return filled(lambda rngs: build(rngs, **kw))


@jax.jit
def step(core, deter, stoch, action):
  return core(deter, stoch, core.embed_action(action))


def by_groups(layer, x):
  """x (B, G, I) times the kernel of each group, plus the bias."""
  y = [x[:, g] @ np.asarray(layer.kernel[...])[g] for g in range(G)]
  return np.concatenate(y, -1) + np.asarray(layer.bias[...])


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize('device', ['cpu', 'accelerator'])
@pytest.mark.parametrize('layers', [0, 1, 2])
def test_equal_to_its_equations(layers, device):
  core = make(layers=layers, device=device)
  x = [core.deter_in(DETER), core.stoch_in(STOCH), core.action_in(ACTION)]
  common = np.concatenate(x, -1)[:, None].repeat(G, 1)
  h = np.concatenate([DETER.reshape(5, G, D // G), common], -1)
  for layer, norm_act in zip(core.hidden, core.norm_acts, strict=True):
    h = np.asarray(norm_act(by_groups(layer, h))).reshape(5, G, D // G)
  gates = by_groups(core.gates, h).reshape(5, G, 3, D // G)
  reset, cand, update = (gates[:, :, i].reshape(5, D) for i in range(3))
  cand = np.tanh(sigmoid(reset) * cand)
  update = sigmoid(update - 1)
  expected = update * cand + (1 - update) * DETER
  found = step(core, DETER, STOCH, ACTION)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_order_of_rows_does_not_matter():
  core = make()
  found = step(core, DETER[::-1], STOCH[::-1], ACTION[::-1])
  expected = step(core, DETER, STOCH, ACTION)[::-1]
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_new_deter_lies_between_the_old_one_and_one():
  found = np.asarray(step(make(), 3 * DETER, 50 * STOCH, ACTION))
  bound = np.maximum(1, np.abs(3 * DETER))
  assert (np.abs(found) <= bound).all()


def test_actions_beyond_one_keep_their_sign_alone():
  core = make()
  wide = np.float32([[5, -0.5, -2], [1, 0.25, 30]])
  clipped = np.float32([[1, -0.5, -1], [1, 0.25, 1]])
  np.testing.assert_array_equal(
    core.embed_action(wide), core.embed_action(clipped)
  )


def test_gradient_of_the_action_passes_the_divisor_by():
  core = make()
  weights = np.float32([1, -2, 3, 0.5])
  total = jax.jit(jax.grad(lambda a: (core.embed_action(a) * weights).sum()))
  inside, outside = np.float32([1, -0.5, -1]), np.float32([4, -0.5, -2])
  expected = total(inside) / np.float32([4, 1, 2])
  assert np.abs(expected).min() > 1e-4
  np.testing.assert_allclose(total(outside), expected, rtol=1e-5)


def test_sizes_that_do_not_fit_are_refused():
  message = 'deter = 10: must be a multiple of blocks, which is 3.'
  with pytest.raises(ValueError, match=re.escape(message)):
    build(nnx.Rngs(0), 10, 1)


def test_without_layers_the_gates_read_the_inputs():
  core = build(nnx.Rngs(0), 12, 0)
  assert len(core.hidden) == 0
  inputs = 12 + 3 * 3 * core.deter_in.linear.bias.shape[0]
  assert core.gates.kernel.shape == (3, inputs // 3, 12)
