"""A trunk with one head."""

import numpy as np
from gymnasium import spaces as gs

from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.predictor import Predictor
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import HEAD
from tests.filling import filled

RNG = np.random.default_rng(0)
FEAT = {
  'stoch': RNG.normal(size=(4, 6, 2)).astype(np.float32),
  'deter': RNG.normal(size=(4, 6, 3)).astype(np.float32),
}


def test_a_predictor_is_its_head_on_its_trunk():
  space = gs.Box(-np.inf, np.inf, (2,), np.float32)
  predictor = filled(
    lambda rngs: Predictor(
      {'deter': 3, 'stoch': 2},
      space,
      layers=2,
      units=4,
      head=Choice(HEAD, 'mse'),
      precision=Precision(),
      rngs=rngs,
    )
  )
  # In the order of the space, whatever that of the features.
  x = np.concatenate([FEAT['deter'], FEAT['stoch']], -1)
  expected = predictor.head(predictor.mlp(x)).pred()
  assert expected.shape == (4, 6, 2)
  np.testing.assert_array_equal(predictor(FEAT).pred(), expected)
