"""Open-loop videos: what is shown, where, and in which frame."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx.agent import openloop
from dreamer_nnx.contracts import Observed, Replayed, World
from dreamer_nnx.numerics import outputs

H, W = 4, 3
GREEN, RED = [0, 255, 0], [255, 0, 0]


class Counter:
  """Dynamics that add up tokens; predictions add up actions instead."""

  def observe(self, carry, tokens, action, is_first, key):
    total = carry['total'][:, None] + np.cumsum(tokens, 1)
    feat = {'level': total}
    return {'total': total[:, -1]}, Observed(feat, feat)

  def predict(self, carry, action, key):
    total = carry['total'] + action['move']
    return {'total': total}, {'level': total}


def decode(feat):
  """A gray level of level / 255 everywhere."""
  level = feat['level'][..., None, None] / 255
  mean = jnp.broadcast_to(level, (*level.shape[:2], H, W, 1))
  return {'image': outputs.Independent(outputs.MSE(mean), 3), 'vector': None}


IMAGE = gs.Box(0, 255, (H, W, 1), np.uint8)
VECTOR = gs.Box(-1, 1, (2,), np.float32)


def make(batch, length, space=None, decoder=decode):
  shape = (batch, length)
  world = World(None, Counter(), decoder, None, None, None)
  replayed = Replayed(
    world,
    {
      'image': np.full((*shape, H, W, 1), 9, np.uint8),
      'is_first': np.zeros(shape, bool),
    },
    {},
    {'move': np.full((*shape, 1), 3, np.float32)},
    {'move': np.full((*shape, 1), 100, np.float32)},
    np.ones((*shape, 1), np.float32),
    None,
    {'total': 10 * (1 + np.arange(batch, dtype=np.float32))[:, None]},
  )
  space = space or {'image': IMAGE, 'vector': VECTOR}
  return openloop.videos(replayed, space, jax.random.key(0))


def test_first_half_is_observed_and_second_half_predicted():
  video = np.asarray(make(2, 5)['image'])
  # Truth, prediction and error below each other; two pixels of border.
  assert video.shape == (5, 3 * H + 4, 2 * (W + 4), 3)
  middle = video[:, 2 + H + 1, :, 0].reshape(5, 2, W + 4)[..., 2 + 1]
  np.testing.assert_array_equal(
    middle.T, [[11, 12, 15, 18, 21], [21, 22, 25, 28, 31]]
  )
  assert (video[:, 2 : 2 + H, 2 : 2 + W] == 9).all()


def test_border_is_green_while_observing_and_red_after():
  video = np.asarray(make(1, 5)['image'])
  for t, color in enumerate([GREEN, GREEN, RED, RED, RED]):
    for edge in (
      video[t, :2],
      video[t, -2:],
      video[t, :, :2],
      video[t, :, -2:],
    ):
      np.testing.assert_array_equal(edge, np.broadcast_to(color, edge.shape))


def test_six_sequences_at_most_are_shown():
  assert make(8, 2)['image'].shape == (2, 3 * H + 4, 6 * (W + 4), 3)


def test_without_images_there_is_no_video():
  assert make(1, 2, {'vector': VECTOR}) == {}


def test_images_that_are_not_decoded_have_no_video():
  assert make(1, 2, decoder=lambda feat: {}) == {}


@pytest.mark.parametrize(
  ('true', 'pred', 'shown', 'error'),
  [(100, 100 / 255, 100, 127), (0, 1.0, 255, 255), (255, -1.0, 0, 0)],
)
def test_error_is_gray_where_the_prediction_is_right(true, pred, shown, error):
  shape = (1, 2, 1, 1, 3)
  video = openloop.grid(
    np.full(shape, true, np.uint8), np.full(shape, pred + 1e-4, np.float32), 1
  )
  # One column of three pixels inside of the border.
  found = np.asarray(video)[0, 2:-2, 2]
  expected = np.repeat([[true], [shown], [error]], 3, -1)
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
  ('channels', 'shown'),
  [
    (1, [1, 1, 1]),
    (2, [1, 2, 0]),
    (3, [1, 2, 3]),
    (4, [1, 2, 3]),
    (5, [3, 4, 5]),
    (12, [10, 11, 12]),
  ],
)
def test_any_number_of_channels_is_shown_in_colour(channels, shown):
  true = np.arange(1, channels + 1, dtype=np.uint8)
  true = np.broadcast_to(true, (1, 2, 1, 1, channels))
  video = openloop.grid(true, np.zeros(true.shape, np.float32), 1)
  video = np.asarray(video)
  assert video.shape == (2, 3 + 4, 1 + 4, 3)
  assert (video[0, :2] == GREEN).all() and (video[1, :2] == RED).all()
  assert video[0, 2, 2].tolist() == shown
