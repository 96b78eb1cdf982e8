"""Lion by hand."""

import numpy as np

from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import OPTIMIZER

PARAMS = {'a/kernel': np.float32([[2.0], [-4.0]]), 'a/bias': np.zeros(2)}


def test_updates_by_hand():
  options = dict(lr=0.5, beta1=0.5, beta2=0.75, wd=0.1, agc=0.0, warmup=0)
  optimizer = Choice(OPTIMIZER, 'lion', **options)()
  state = optimizer.init(PARAMS)
  grads = [np.float32([[1.0], [-2.0]]), np.float32([[-0.1], [2.5]])]
  for gradient, signs in zip(grads, ([1, -1], [1, 1]), strict=True):
    given = {'a/kernel': gradient, 'a/bias': np.zeros(2)}
    changes, state = optimizer.update(given, state, PARAMS)
    # m is (0.25, -0.5) at the second: 0.5 m + 0.5 g is (0.075, 1).
    expected = -0.5 * (np.array(signs)[:, None] + 0.1 * PARAMS['a/kernel'])
    np.testing.assert_allclose(changes['a/kernel'], expected, rtol=1e-6)
    np.testing.assert_array_equal(changes['a/bias'], np.zeros(2))
  momentum = 0.75 * np.float32([[0.25], [-0.5]]) + 0.25 * grads[1]
  np.testing.assert_allclose(state[1].mu['a/kernel'], momentum, rtol=1e-6)
