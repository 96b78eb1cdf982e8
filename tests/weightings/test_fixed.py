"""Weighting by fixed scales."""

import numpy as np

from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import WEIGHTING


def test_every_loss_is_multiplied_by_its_scale():
  losses = {'a': np.ones((2, 3)), 'b': np.float32(4.0), 'c': np.ones((2, 3))}
  weigh = Choice(WEIGHTING, 'fixed')(obs_space={})
  found = weigh(losses, {'a': 2.0, 'b': 0.5, 'c': 0.0})
  assert found.keys() == losses.keys()
  np.testing.assert_array_equal(found['a'], np.full((2, 3), 2.0))
  np.testing.assert_array_equal(found['c'], np.zeros((2, 3)))
  assert found['b'] == 2
