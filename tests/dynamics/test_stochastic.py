"""Parts of a state that are drawn: entries, divergences, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx import contracts
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import STOCHASTIC

B = 64
RNG = np.random.default_rng(0)
SIZES = {
  'categorical': dict(stoch=3, classes=5),
  'gaussian': dict(stoch=4, minstd=0.2, maxstd=0.9),
  'fsq': dict(stoch=4, levels=6),
}
ALL = pytest.mark.parametrize('name', SIZES)
KEY = jax.random.key(0)


def make(name, compute='float32', **kw):
  choice = Choice(STOCHASTIC, name, **SIZES[name] | kw)
  return choice(precision=Precision(compute))


def params(part, kind):
  size = getattr(part, f'{kind}_size')
  return 2 * RNG.normal(size=(B, size)).astype(np.float32)


def softmax(x):
  return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


@ALL
def test_is_hashable_and_meets_the_protocol(name):
  part = make(name)
  assert isinstance(part, contracts.Stochastic)
  assert part == make(name) and hash(part) == hash(make(name))


@ALL
@pytest.mark.parametrize('compute', ['float32', 'bfloat16', 'float16'])
@pytest.mark.parametrize('kind', ['posterior', 'prior'])
def test_an_entry_has_the_whole_sample(name, compute, kind):
  part = make(name, compute)

  def pack(params):
    value = getattr(part, kind)(params).sample(KEY)
    value = part.precision.cast(value)
    return value, part.pack(value)

  value, entry = jax.jit(pack)(params(part, kind))
  assert value.shape == (B, *part.shape)
  assert (entry.shape, entry.dtype) == (
    (B, *part.entry.shape),
    part.entry.dtype,
  )
  unpacked = part.unpack(entry)
  assert unpacked.dtype == part.precision.compute_dtype
  np.testing.assert_array_equal(unpacked, value)


@pytest.mark.parametrize(
  ('classes', 'dtype'),
  [
    (1, 'uint8'),
    (256, 'uint8'),
    (257, 'uint16'),
    (2**16, 'uint16'),
    (2**16 + 1, 'uint32'),
  ],
)
def test_classes_take_the_smallest_format(classes, dtype):
  part = make('categorical', classes=classes)
  assert part.entry.dtype == dtype
  last = jax.nn.one_hot(jnp.array([[classes - 1]]), classes)
  np.testing.assert_array_equal(part.unpack(part.pack(last)), last)


@ALL
def test_kl_of_a_posterior_to_a_prior_is_per_row(name):
  part = make(name)
  kl = part.posterior(params(part, 'posterior')).kl(
    part.prior(params(part, 'prior'))
  )
  assert kl.shape == (B,) and kl.dtype == jnp.float32
  assert (kl > 0).all()


@ALL
@pytest.mark.parametrize('kind', ['posterior', 'prior'])
def test_samples_have_gradients(name, kind):
  part, x = make(name), params(make(name), kind)
  weights = RNG.normal(size=(B, *part.shape))
  draw = lambda x: (getattr(part, kind)(x).sample(KEY) * weights).sum()
  slope = jax.grad(draw)(x)
  assert np.isfinite(slope).all() and (slope != 0).any(0).all()


@ALL
def test_kl_trains_both(name):
  part = make(name)
  kl = lambda a, b: part.posterior(a).kl(part.prior(b)).sum()
  args = params(part, 'posterior'), params(part, 'prior')
  for slope in jax.grad(kl, (0, 1))(*args):
    assert np.isfinite(slope).all() and (slope != 0).any(0).all()


def test_categorical_mixes_a_uniform_share():
  part = make('categorical', unimix=0.2)
  x = params(part, 'prior')
  logits = part.prior(x).output.logits
  expected = 0.8 * softmax(x.reshape(B, 3, 5)) + 0.2 / 5
  np.testing.assert_allclose(jnp.exp(logits), expected, rtol=1e-5)


def test_categorical_samples_have_the_gradient_of_the_probabilities():
  part, x = make('categorical'), params(make('categorical'), 'prior')
  weights = RNG.normal(size=(B, 3, 5)).astype(np.float32)
  draw = lambda x: (part.prior(x).sample(KEY) * weights).sum()

  def mean(x):
    logits = x.reshape(B, 3, 5)
    return ((0.99 * jax.nn.softmax(logits, -1) + 0.002) * weights).sum()

  np.testing.assert_allclose(jax.grad(draw)(x), jax.grad(mean)(x), atol=1e-6)


def test_gaussian_kl_is_the_closed_form():
  part = make('gaussian')
  a, b = params(part, 'posterior'), params(part, 'prior')

  def moments(x):
    mean, raw = np.split(x.astype(np.float64), 2, -1)
    return mean, 0.2 + 0.7 / (1 + np.exp(-raw - 2))

  (m, s), (n, t) = moments(a), moments(b)
  expected = np.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5
  found = part.posterior(a).kl(part.prior(b))
  np.testing.assert_allclose(found, expected.sum(-1), rtol=1e-4)


def test_gaussian_samples_have_its_moments():
  part = make('gaussian')
  x = np.broadcast_to(params(part, 'prior')[:1], (20000, 8))
  drawn = np.asarray(part.prior(x).sample(KEY))
  normal = part.prior(x[0]).output
  assert (normal.std > 0.2).all() and (normal.std < 0.9).all()
  # Five standard errors.
  bound = 5 * 0.9 / 20000**0.5
  np.testing.assert_allclose(drawn.mean(0), normal.mean, atol=bound)
  np.testing.assert_allclose(drawn.std(0), normal.std, atol=bound)


def test_gaussian_bounds_are_in_order():
  with pytest.raises(UserError, match=r'minstd = 0.5: must be at most maxstd'):
    make('gaussian', minstd=0.5, maxstd=0.4)


@pytest.mark.parametrize('levels', [2, 3, 6, 255])
def test_fsq_rounds_to_the_nearest_level(levels):
  part = make('fsq', levels=levels)
  x = params(part, 'posterior')
  found = part.posterior(x).sample(KEY)
  every = np.linspace(-1, 1, levels)
  distance = np.abs(np.tanh(x)[..., None] - every)
  np.testing.assert_allclose(found, every[distance.argmin(-1)], atol=1e-6)
  other = part.posterior(x).sample(jax.random.key(1))
  np.testing.assert_array_equal(found, other)


def test_fsq_posterior_has_the_gradient_of_tanh():
  part = make('fsq')
  x = params(part, 'posterior')
  slope = jax.grad(lambda x: part.posterior(x).sample(KEY).sum())(x)
  np.testing.assert_allclose(slope, 1 - np.tanh(x) ** 2, atol=1e-5)


def test_fsq_kl_is_the_cross_entropy_of_the_levels():
  part = make('fsq')
  a, b = params(part, 'posterior'), params(part, 'prior')
  probs = 0.99 * softmax(b.reshape(B, 4, 6)) + 0.01 / 6
  index = np.asarray(part.pack(part.posterior(a).sample(KEY)))
  chosen = np.take_along_axis(probs, index[..., None], -1)[..., 0]
  found = part.posterior(a).kl(part.prior(b))
  np.testing.assert_allclose(found, -np.log(chosen).sum(-1), rtol=1e-5)
  np.testing.assert_array_equal(part.posterior(a).entropy(), np.zeros(B))


def test_fsq_kl_moves_the_number_to_more_likely_levels():
  part = make('fsq', stoch=1, unimix=0.0)
  logits = np.arange(6, dtype=np.float32)[None]
  kl = lambda a: part.posterior(a).kl(part.prior(logits)).sum()
  for x in (-1.1, -0.3, 0.05, 0.7):
    number = np.full((1, 1), x, np.float32)
    # Each level is e times as likely as the one below, 2/5 away.
    expected = -2.5 * (1 - np.tanh(x) ** 2)
    np.testing.assert_allclose(jax.grad(kl)(number)[0, 0], expected, rtol=1e-4)


def test_fsq_prior_draws_by_its_probabilities():
  part = make('fsq', stoch=1)
  logits = params(part, 'prior')[:1]
  drawn = jax.vmap(functools.partial(part.prior(logits).sample))
  index = part.pack(drawn(jax.random.split(KEY, 20000)))
  found = np.bincount(np.ravel(index), minlength=6) / 20000
  probs = 0.99 * softmax(logits[0]) + 0.01 / 6
  np.testing.assert_allclose(found, probs, atol=5 * 0.5 / 20000**0.5)
