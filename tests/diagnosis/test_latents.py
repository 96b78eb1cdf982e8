"""Collapse of the latent codes, made on purpose."""

import numpy as np

from dreamer_nnx.diagnosis import latents

RNG = np.random.default_rng(0)
SHAPE = 8, 16, 6
LOSSES = {'dyn': np.full((8, 16), 1.5)}


def summary(codes, entropy):
  return latents.summary({'stoch': codes}, LOSSES, {'rep_ent': entropy})


def test_codes_in_use_are_counted():
  codes = np.zeros(SHAPE, np.uint8)
  codes[..., 0] = np.arange(128).reshape(8, 16) % 4
  found = summary(codes, 0.0)
  np.testing.assert_allclose(found.used, [4, 1, 1, 1, 1, 1])
  np.testing.assert_allclose(found.told, np.log(4))
  assert found.codes == 4
  assert found.constant == 5 / 6
  np.testing.assert_array_equal(found.kl, np.full(16, 1.5))
  assert not found.warning


def test_constant_codes_have_collapsed():
  found = summary(np.full(SHAPE, 3, np.uint8), 0.0)
  assert found.warning == (
    'The latent codes have collapsed: 100% of 6 variables always have the same '
    'code.'
  )


def test_codes_that_are_noise_have_collapsed():
  codes = RNG.integers(0, 8, (64, 64, 6))
  found = summary(codes, 6 * np.log(8))
  assert abs(found.told) < 0.05
  assert 'drawn alike at all steps' in found.warning
  assert not summary(codes, 3 * np.log(8)).warning


def test_without_codes_nothing_is_said():
  found = latents.summary({'stoch': np.zeros(SHAPE)}, {}, {})
  assert found.used.size == found.kl.size == 0
  assert not found.warning
