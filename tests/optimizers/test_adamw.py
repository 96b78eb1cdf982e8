"""AdamW behind the clipping and schedules of the default."""

import jax
import numpy as np
import optax

from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import OPTIMIZER

RNG = np.random.default_rng(0)
PARAMS = {
  'a/kernel': RNG.normal(size=(3, 2)).astype(np.float32),
  'b/kernel': RNG.normal(size=(2,)).astype(np.float32),
}


def run(optimizer, count=3):
  rng, params, state = np.random.default_rng(1), PARAMS, optimizer.init(PARAMS)
  update = jax.jit(optimizer.update)
  for _ in range(count):
    grads = {k: rng.normal(size=v.shape) for k, v in PARAMS.items()}
    changes, state = update(grads, state, params)
    params = optax.apply_updates(params, changes)
  return params


def test_without_clipping_and_warmup_it_is_that_of_optax():
  options = dict(lr=1e-2, wd=0.3, beta1=0.8, beta2=0.99, eps=1e-3)
  found = run(Choice(OPTIMIZER, 'adamw', agc=0.0, warmup=0, **options)())
  expected = run(optax.adamw(1e-2, 0.8, 0.99, 1e-3, weight_decay=0.3))
  for key, x in expected.items():
    np.testing.assert_allclose(found[key], x, rtol=1e-5)


def test_clipping_comes_first():
  # So small a share that ε decides: the update is g / ε, not its sign.
  optimizer = Choice(OPTIMIZER, 'adamw', agc=1e-6, warmup=0, lr=1.0, eps=1.0)()
  found = run(optimizer, count=1)
  for key, x in found.items():
    assert 0 < np.linalg.norm(x - PARAMS[key]) < 1e-5


def test_first_update_of_a_warmup_changes_nothing():
  found = run(Choice(OPTIMIZER, 'adamw')(), count=1)
  for key, x in found.items():
    np.testing.assert_array_equal(x, PARAMS[key])
