"""Muon: which matrices a kernel is, and who learns by Adam."""

import jax
import numpy as np
import optax
import pytest
from optax import contrib

from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import OPTIMIZER

RNG = np.random.default_rng(0)
SHAPES = {
  'core/dense/kernel': (6, 3),
  'core/block/kernel': (2, 3, 5),
  'core/conv/kernel': (3, 3, 2, 4),
  'core/dense/bias': (3,),
  'core/scale': (4, 2),
  'reward/head/linear/kernel': (3, 4),
  'prior/out/kernel': (3, 4),
}
KERNELS = [x for x in SHAPES if x.startswith('core/') and x.endswith('kernel')]
draw = lambda: {
  k: RNG.normal(size=s).astype(np.float32) for k, s in SHAPES.items()
}
PARAMS, GRADS = draw(), [draw() for _ in range(2)]


def run(optimizer, params=PARAMS, grads=GRADS):
  state, update = optimizer.init(params), jax.jit(optimizer.update)
  for gradient in grads:
    changes, state = update(gradient, state, params)
  return changes, state


def build(**kw):
  options = dict(agc=0.0, warmup=0, lr=1.0)
  return Choice(OPTIMIZER, 'muon', **options | kw)()


@pytest.fixture(scope='module')
def plain():
  return run(build(others_rate=0.25))


def matrices(name, x):
  """Every kernel as (G, in, out)."""
  return np.reshape(x, (2 if 'block' in name else 1, -1, x.shape[-1]))


@pytest.mark.parametrize('name', KERNELS)
def test_updates_of_kernels_are_matrices_of_even_singular_values(plain, name):
  change = matrices(name, plain[0][name])
  rms = 0.2 * np.sqrt(max(change.shape[1:]))
  values = np.linalg.svd(change, compute_uv=False) / rms
  # Five iterations bring them near 1, and not to it.
  assert (values > 0.5).all() and (values < 1.3).all()
  # Of the momentum itself they differ more.
  first, second = (matrices(name, g[name]) for g in GRADS)
  spread = np.linalg.svd(0.95 * first + second, compute_uv=False)
  assert (spread.max(-1) / spread.min(-1) > 1.5).all()


def test_a_matrix_of_a_block_learns_like_one_alone(plain):
  pick = lambda tree: {'core/dense/kernel': tree['core/block/kernel'][1]}
  changes, _ = run(build(), pick(PARAMS), list(map(pick, GRADS)))
  found, expected = changes['core/dense/kernel'], plain[0]['core/block/kernel']
  np.testing.assert_allclose(found, expected[1], rtol=1e-4, atol=1e-5)


def test_a_convolution_learns_like_the_matrix_of_its_patches(plain):
  pick = lambda tree: {
    'core/dense/kernel': tree['core/conv/kernel'].reshape(18, 4)
  }
  changes, _ = run(build(), pick(PARAMS), list(map(pick, GRADS)))
  expected = np.reshape(plain[0]['core/conv/kernel'], (18, 4))
  found = changes['core/dense/kernel']
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_all_that_is_no_inner_kernel_learns_by_adam(plain):
  expected, _ = run(optax.adam(0.25))
  for name in SHAPES.keys() - KERNELS:
    np.testing.assert_allclose(plain[0][name], expected[name], rtol=1e-5)
  held = plain[1][1].inner_states['adam'].inner_state.nu
  assert {k for k, x in held.items() if hasattr(x, 'shape')} == (
    SHAPES.keys() - KERNELS
  )


@pytest.mark.parametrize('rms', [0.0, 0.3])
def test_dense_kernels_learn_as_by_muon_of_optax(rms):
  pick = lambda tree: {k: tree[k] for k in ('core/dense/kernel', 'core/scale')}
  params, grads = pick(PARAMS), list(map(pick, GRADS))
  params['core/scale'] = params['core/scale'][0]
  grads = [g | {'core/scale': g['core/scale'][0]} for g in grads]
  theirs = contrib.muon(1.0, beta=0.9, consistent_rms=rms or None)
  found, _ = run(build(rms=rms, beta=0.9), params, grads)
  expected, _ = run(theirs, params, grads)
  kernel = 'core/dense/kernel'
  np.testing.assert_allclose(found[kernel], expected[kernel], rtol=1e-5)


def test_a_broken_pattern_is_refused():
  message = r"config.optimizer.muon.others = '\(': is no regular expression"
  with pytest.raises(UserError, match=message):
    build(others='(')
