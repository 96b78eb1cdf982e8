"""The dense GRU: equal to its equations."""

import jax
import numpy as np

from dreamer_nnx.dynamics.gru import DenseGRU
from dreamer_nnx.nn.precision import Precision
from tests.filling import filled

D, S, A, U = 6, 5, 3, 4
RNG = np.random.default_rng(0)
DETER, STOCH, ACTION = (
  RNG.normal(size=(7, size)).astype(np.float32) for size in (D, S, A)
)


def make():
  kw = dict(hidden=U, act='silu', norm='rms', winit='trunc_normal_in')
  kw['precision'] = Precision('float32')
  return filled(lambda rngs: DenseGRU(D, S, A, **kw, rngs=rngs))


@jax.jit
def step(core, deter, stoch, action):
  return core(deter, stoch, core.embed_action(action))


def affine(layer, x):
  return x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])


def rms(norm, x):
  size = np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-4)
  return x / size * np.asarray(norm.scale[...])


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def test_equal_to_its_equations():
  core = make()
  x = affine(core.stoch_in, STOCH) + affine(
    core.action_in, ACTION / np.maximum(1, np.abs(ACTION))
  )
  x = rms(core.norm_act.norm, x)
  x = np.concatenate([DETER, x * sigmoid(x)], -1)
  reset, cand, update = np.split(rms(core.norm, affine(core.gates, x)), 3, -1)
  update = sigmoid(update - 1)
  expected = update * np.tanh(sigmoid(reset) * cand) + (1 - update) * DETER
  found = step(core, DETER, STOCH, ACTION)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_new_deter_lies_between_the_old_one_and_one():
  found = np.asarray(step(make(), 3 * DETER, 50 * STOCH, ACTION))
  assert (np.abs(found) <= np.maximum(1, np.abs(3 * DETER))).all()
