"""The optimiser: equal to its equations over some updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.optimizers.dreamer import (
  scale_by_momentum,
  scale_by_rms,
)
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import OPTIMIZER

RNG = np.random.default_rng(0)
PARAMS = {
  'a/kernel': RNG.normal(size=(3, 2)).astype(np.float32),
  'a/bias': np.zeros(2, np.float32),
}
GRADS = [
  {k: RNG.normal(size=v.shape).astype(np.float32) for k, v in PARAMS.items()}
  for _ in range(4)
]


def run(optimizer, params=PARAMS, grads=GRADS):
  """The change of every update, and the last state."""
  state, changes = optimizer.init(params), []
  update = jax.jit(optimizer.update)
  for gradient in grads:
    change, state = update(gradient, state, params)
    params = jax.tree.map(jnp.add, params, change)
    changes.append(change)
  return changes, state


def equal(found, expected):
  for one, two in zip(found, expected, strict=True):
    for key in two:
      np.testing.assert_allclose(one[key], two[key], rtol=1e-4, err_msg=key)


def test_rms_by_hand():
  grads = [{'x': np.float32([3, -0.5])}, {'x': np.float32([-4, 0.5])}]
  found, _ = run(scale_by_rms(0.9, 0.0), {'x': np.zeros(2)}, grads)
  # The first is the sign. Then ν̂ = (0.09 g₀² + 0.1 g₁²) / 0.19.
  nu = (0.09 * np.float32([9, 0.25]) + 0.1 * np.float32([16, 0.25])) / 0.19
  equal(found, [{'x': [1, -1]}, {'x': [-4, 0.5] / np.sqrt(nu)}])


def test_rms_of_no_gradient_is_no_update():
  zero = [{'x': np.zeros(2, np.float32)}]
  found, _ = run(scale_by_rms(0.999, 1e-20), {'x': np.ones(2)}, zero)
  np.testing.assert_array_equal(found[0]['x'], [0, 0])


@pytest.mark.parametrize('nesterov', [False, True])
def test_momentum_by_hand(nesterov):
  grads = [{'x': np.float32([1])}, {'x': np.float32([-3])}]
  found, state = run(scale_by_momentum(0.9, nesterov), grads[0], grads)
  mu = np.array([0.1, 0.9 * 0.1 - 0.3])
  ahead = 0.9 * mu + 0.1 * np.array([1, -3]) if nesterov else mu
  expected = ahead / (1 - 0.9 ** np.array([1, 2]))
  equal(found, [{'x': x[None]} for x in expected])
  np.testing.assert_allclose(state.mu['x'], mu[1:], rtol=1e-6)
  assert state.count == 2


@pytest.mark.parametrize('momentum', [True, False])
def test_equal_to_its_equations(momentum):
  options = dict(lr=0.1, warmup=2, wd=0.01, beta2=0.99, momentum=momentum)
  found, _ = run(Choice(OPTIMIZER, 'dreamer', **options)())
  params = {k: v.astype(np.float64) for k, v in PARAMS.items()}
  nu, mu = ({k: 0 * v for k, v in params.items()} for _ in range(2))
  for t, (grads, change) in enumerate(zip(GRADS, found, strict=True), 1):
    rate = 0.1 * min(1, (t - 1) / 2)
    for key, g in grads.items():
      upper = 0.3 * max(1e-3, np.linalg.norm(params[key]))
      g = g / max(1, np.linalg.norm(g) / upper)
      nu[key] = 0.99 * nu[key] + 0.01 * g**2
      g = g / (np.sqrt(nu[key] / (1 - 0.99**t)) + 1e-20)
      mu[key] = 0.9 * mu[key] + 0.1 * g
      g = mu[key] / (1 - 0.9**t) if momentum else g
      g = g + 0.01 * params[key] * (key == 'a/kernel')
      np.testing.assert_allclose(change[key], -rate * g, rtol=1e-3, atol=1e-7)
      params[key] -= rate * g


def test_first_update_of_a_warmup_changes_nothing():
  found, _ = run(Choice(OPTIMIZER, 'dreamer')(), grads=GRADS[:2])
  for x in found[0].values():
    np.testing.assert_array_equal(x, np.zeros_like(x))
  for x in found[1].values():
    assert np.abs(x).min() > 0


def test_updates_do_not_depend_on_the_size_of_the_loss():
  optimizer = Choice(OPTIMIZER, 'dreamer', warmup=0)()
  large = [jax.tree.map(lambda g: 100 * g, x) for x in GRADS]
  small = [jax.tree.map(lambda g: 10 * g, x) for x in GRADS]
  equal(run(optimizer, grads=large)[0], run(optimizer, grads=small)[0])


def test_accumulators_are_float32_whatever_the_parameters():
  params = jax.tree.map(lambda p: jnp.asarray(p, jnp.bfloat16), PARAMS)
  state = jax.eval_shape(Choice(OPTIMIZER, 'dreamer')().init, params)
  kinds = {x.dtype for x in jax.tree.leaves(state) if x.shape}
  assert kinds == {jnp.dtype('float32')}
