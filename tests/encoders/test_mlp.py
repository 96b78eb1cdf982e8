"""The MLP of everything, by hand."""

import jax
import numpy as np

from dreamer_nnx.encoders.mlp import MLPEncoder
from tests.encoders.observing import SPACE, image, make, observe, pixels


def test_one_layer_by_hand():
  options = dict(units=5, norm='none', act='tanh')
  encoder = make(MLPEncoder, SPACE, layers=1, **options)
  obs = observe(2)
  speed = np.sign(obs['speed']) * np.log1p(np.abs(obs['speed']))
  # Vectors come first; of either, those in the order of the alphabet.
  back, front = np.split(pixels(obs), [1], -1)
  parts = np.eye(3)[obs['goal']], speed, back, front
  x = np.concatenate([part.reshape(2, -1) for part in parts], -1)
  linear = encoder.mlp.layers[0].linear
  y = np.tanh(x @ np.asarray(linear.kernel[...]) + np.asarray(linear.bias[...]))
  assert encoder.token_size == 5
  np.testing.assert_allclose(jax.jit(encoder)(obs), y, atol=1e-5)


def test_images_may_differ_in_size():
  space = {'front': image(4, 6), 'back': image(3, 5, 1)}
  encoder = make(MLPEncoder, space, layers=0)
  obs = {k: np.full((2, *s.shape), 255, np.uint8) for k, s in space.items()}
  np.testing.assert_array_equal(encoder(obs), np.full((2, 72 + 15), 0.5))


def test_a_missing_vector_is_encoded_as_zeros():
  encoder, obs = make(MLPEncoder, SPACE, layers=0), observe(2)
  missing = obs['speed'].copy()
  missing[1, 0] = -np.inf
  found = np.asarray(encoder(obs | {'speed': missing}))
  np.testing.assert_array_equal(found[1, 3:5], np.zeros(2))
  np.testing.assert_array_equal(found[0], encoder(obs)[0])
