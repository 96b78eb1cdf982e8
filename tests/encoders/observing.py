"""Observations of every kind, for tests of encoders."""

import numpy as np
from gymnasium import spaces as gs

from dreamer_nnx.nn.precision import Precision
from tests.filling import filled


def image(height, width, channels=3):
  return gs.Box(0, 255, (height, width, channels), np.uint8)


VECTORS = {
  'speed': gs.Box(-np.inf, np.inf, (2,), np.float32),
  'goal': gs.Discrete(3),
}
IMAGES = {'front': image(8, 12), 'back': image(8, 12, 1)}
SPACE = VECTORS | IMAGES


def make(builder, space, compute='float32', **fields):
  precision = Precision(compute)
  return filled(
    lambda rngs: builder(space, **fields, precision=precision, rngs=rngs)
  )


def observe(*batch, space=SPACE):
  rng = np.random.default_rng(0)
  draw = {
    'speed': lambda: rng.normal(0, 5, (*batch, 2)).astype(np.float32),
    'goal': lambda: rng.integers(0, 3, batch).astype(np.int32),
    'front': lambda: rng.integers(0, 256, (*batch, 8, 12, 3)).astype(np.uint8),
    'back': lambda: rng.integers(0, 256, (*batch, 8, 12, 1)).astype(np.uint8),
  }
  return {key: draw[key]() for key in space}


def pixels(obs):
  """All images side by side; in the order of the alphabet, the back first."""
  return np.concatenate([obs['back'], obs['front']], -1) / np.float32(255) - 0.5
