"""The diagonal recurrence: equal to its equation, and stable."""

import jax
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx.dynamics.ssm import DiagonalSSM
from dreamer_nnx.nn.precision import Precision
from tests.filling import filled

B, T, I, P = 2, 6, 3, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, I)).astype(np.float32)
STATE = RNG.normal(size=(B, P, 2)).astype(np.float32).view(np.complex64)[..., 0]


def build(rngs, state=P):
  kw = dict(winit='trunc_normal_in', precision=Precision('float32'))
  return DiagonalSSM(I, state, **kw, rngs=rngs)


def test_equal_to_its_equation():
  ssm = filled(build)
  is_first = np.zeros((B, T), bool)
  is_first[1, 3] = True
  states, y = jax.jit(ssm)(STATE, X, is_first)
  params = (ssm.log_time, ssm.log_decay, ssm.frequency)
  time, decay, frequency = (np.asarray(x[...], np.float64) for x in params)
  a = np.exp(np.exp(time) * (-np.exp(decay) + 1j * frequency))
  u = np.asarray(ssm.reads(X), np.float64)
  u = np.sqrt(1 - np.abs(a) ** 2) * (u[..., :P] + 1j * u[..., P:])
  h = STATE.astype(np.complex128)
  for t in range(T):
    h = a * np.where(is_first[:, t, None], 0, h) + u[:, t]
    np.testing.assert_allclose(states[:, t], h, atol=1e-5)
    parts = np.concatenate([h.real, h.imag], -1).astype(np.float32)
    np.testing.assert_allclose(y[:, t], ssm.writes(parts), atol=1e-5)


@pytest.mark.parametrize('scale', [0, 1, 30])
def test_states_never_grow_without_inputs(scale):
  ssm = filled(build)
  for param in (ssm.log_time, ssm.log_decay, ssm.frequency):
    param[...] = scale * RNG.normal(size=P)
  x = np.zeros((B, 50, I), np.float32)
  ssm.reads.bias[...] = np.zeros(2 * P)
  states, _ = ssm(STATE, x, np.zeros((B, 50), bool))
  size = np.abs(states)
  assert np.isfinite(size).all()
  assert (size <= np.abs(STATE)[:, None] * (1 + 1e-5)).all()


def test_initial_memories_are_of_many_lengths():
  ssm = build(nnx.Rngs(0), 512)
  time = np.exp(ssm.log_time[...])
  assert 1e-3 <= time.min() < 2e-3 and 5e-2 < time.max() <= 1e-1
  # White inputs make states of their size, but for what has not yet been seen.
  x = RNG.normal(size=(1, 4000, I)).astype(np.float32)
  states, _ = ssm(
    np.zeros((1, 512), np.complex64), x, np.zeros((1, 4000), bool)
  )
  last = np.abs(np.asarray(states)[0, -1000:]) ** 2
  assert 0.5 < last.mean() / 2 < 2
