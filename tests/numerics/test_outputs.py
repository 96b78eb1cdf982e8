"""Distributions: hand-computed values, and what must hold between methods."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.numerics import outputs
from dreamer_nnx.numerics.squash import symlog
from dreamer_nnx.numerics.twohot import symexp_bins, twohot
from tests.compiling import optimized

N = 20_000
LOGITS = np.log(np.float32([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]]))
OTHERS = np.float32([[0.3, -1, 2], [1, 0.2, 0]])


def test_mse_is_the_squared_distance_to_the_squashed_target():
  mean = np.float32([1, 0.5])
  target = np.float32([np.e - 1, 1 - np.e])
  found = outputs.MSE(mean, symlog).loss(target)
  np.testing.assert_allclose(found, [0, 2.25], atol=1e-6)
  plain = outputs.MSE(mean).loss(np.float32([4, 0]))
  np.testing.assert_array_equal(plain, [9, 0.25])


def test_huber_is_quadratic_near_and_linear_far():
  loss = outputs.Huber(np.float32([3, 1e-3, 1e6]), eps=4.0).loss(np.zeros(3))
  # √(3² + 4²) - 4;  d² / (2 · 4), within the rounding of 4;  d - 4
  np.testing.assert_allclose(loss, [1, 1.25e-7, 1e6 - 4], rtol=1e-6, atol=5e-7)


@pytest.mark.parametrize('output', [outputs.MSE, outputs.Huber])
def test_targets_are_not_trained(output):
  loss = lambda mean, target: output(mean).loss(target)
  mean, target = jax.grad(loss, (0, 1))(2.0, 0.5)
  assert mean > 0 and target == 0


@pytest.fixture
def normal():
  mean = np.float32([0.5, -2])
  return outputs.Normal(mean, np.float32([1, 0.25]), (0.25, 1.0))


def test_normal_logp_by_hand(normal):
  z = np.float32([2, -4])
  expected = -0.5 * z**2 - np.log(normal.std) - 0.5 * np.log(2 * np.pi)
  event = normal.mean + z * normal.std
  np.testing.assert_allclose(normal.logp(event), expected, rtol=1e-6)
  np.testing.assert_allclose(normal.prob(event), np.exp(expected), rtol=1e-5)
  np.testing.assert_allclose(normal.loss(event), -expected, rtol=1e-6)


def test_normal_entropy_is_the_mean_surprise_of_its_samples(normal):
  @jax.jit
  def surprise(mean, std):
    dist = outputs.Normal(jnp.broadcast_to(mean, (N, 2)), std)
    return -dist.logp(dist.sample(jax.random.key(0))).mean(0)

  found = surprise(normal.mean, normal.std)
  # Five standard errors: the variance of the surprise is ½.
  bound = 5 * 0.5**0.5 / N**0.5
  np.testing.assert_allclose(found, normal.entropy(), atol=bound)


def test_normal_entropy_range_holds_at_the_bounds(normal):
  low, high = normal.entropy_range()
  np.testing.assert_allclose(normal.entropy(), [high[0], low[1]], rtol=1e-6)
  assert outputs.Normal(normal.mean, normal.std).entropy_range() is None


def test_normal_kl_by_hand(normal):
  other = outputs.Normal(np.float32([2.5, -2]), np.float32([2, 0.25]))
  expected = [np.log(2) + (1 + 4) / 8 - 0.5, 0]
  np.testing.assert_allclose(normal.kl(other), expected, atol=1e-6)


def test_normal_pred_is_its_mean(normal):
  np.testing.assert_array_equal(normal.pred(), normal.mean)


def test_binary_with_soft_labels():
  prob = np.float32([0.2, 0.9, 0.5])
  binary = outputs.Binary(np.log(prob / (1 - prob)))
  label = np.float32([0.25, 1, 0])
  expected = -label * np.log(prob) - (1 - label) * np.log(1 - prob)
  np.testing.assert_allclose(binary.loss(label), expected, rtol=1e-5)
  np.testing.assert_allclose(binary.prob(1), prob, rtol=1e-6)
  np.testing.assert_array_equal(binary.pred(), [False, True, False])


def test_binary_loss_is_least_where_the_probability_is_the_label():
  label = 1 - 1 / 333
  logit = np.float32(np.log(label / (1 - label)))
  slope = jax.grad(lambda x: outputs.Binary(x).loss(label))
  assert abs(slope(logit)) < 1e-6
  assert slope(logit - 0.1) < -1e-4 and slope(logit + 0.1) > 1e-4


def test_binary_is_a_categorical_of_two():
  logit, other = np.float32([-3, 0, 0.5, 4]), np.float32([1, 2, 0.5, -1])

  def binary(x):
    return outputs.Binary(x)

  def pair(x):
    return outputs.Categorical(jnp.stack([jnp.zeros_like(x), x], -1))

  @jax.jit
  def methods(logit, other):
    key = jax.random.key(1)
    return [
      (p.entropy(), p.kl(q), p.sample(key))
      for p, q in ((f(logit), f(other)) for f in (binary, pair))
    ]

  two, many = methods(logit, other)
  np.testing.assert_allclose(two[0], many[0], rtol=1e-5)
  np.testing.assert_allclose(two[1], many[1], atol=1e-6)
  assert two[2].dtype == bool
  np.testing.assert_array_equal(two[2], np.asarray(many[2]) == 1)


def test_mix_uniform_by_hand():
  logits = np.log(np.float32([3, 1]))
  mixed = outputs.mix_uniform(logits, 0.5)
  np.testing.assert_allclose(np.exp(mixed), [0.625, 0.375], rtol=1e-6)
  np.testing.assert_array_equal(outputs.mix_uniform(logits, 0.0), logits)


def test_mix_uniform_bounds_probabilities_from_below():
  logits = np.float32([-200, 0, 100, 3])
  probs = np.exp(outputs.mix_uniform(logits, 0.01))
  np.testing.assert_allclose(probs.sum(), 1, rtol=1e-6)
  assert probs.min() >= 0.0025 * (1 - 1e-6)


def test_categorical_by_hand():
  dist = outputs.Categorical(LOGITS + 7)
  np.testing.assert_array_equal(dist.pred(), [0, 1])
  event = np.array([2, 1])
  np.testing.assert_allclose(dist.prob(event), [0.25, 0.75], rtol=1e-6)
  np.testing.assert_allclose(
    dist.entropy(),
    [1.5 * np.log(2), 0.5 * np.log(2) * 1.5 + 0.75 * np.log(4 / 3)],
    rtol=1e-6,
  )
  uniform = outputs.Categorical(np.zeros((2, 3), np.float32))
  np.testing.assert_allclose(
    dist.kl(uniform), np.log(3) - dist.entropy(), rtol=1e-5
  )
  np.testing.assert_allclose(dist.kl(dist), 0, atol=1e-7)


def test_categorical_entropy_range_is_between_sure_and_uniform():
  sure = outputs.Categorical(np.float32([[0, 500, 0]]))
  uniform = outputs.Categorical(np.full((1, 3), 2, np.float32))
  low, high = sure.entropy_range()
  np.testing.assert_allclose(sure.entropy(), low, atol=1e-7)
  np.testing.assert_allclose(uniform.entropy(), high, rtol=1e-6)


def test_onehot_agrees_with_categorical():
  onehot, other = outputs.OneHot(LOGITS), outputs.OneHot(OTHERS)
  index, another = outputs.Categorical(LOGITS), outputs.Categorical(OTHERS)
  event = np.array([2, 0])
  np.testing.assert_array_equal(
    onehot.logp(np.eye(3)[event]), index.logp(event)
  )
  key = jax.random.key(2)
  np.testing.assert_array_equal(
    onehot.sample(key), np.eye(3)[index.sample(key),]
  )
  np.testing.assert_array_equal(onehot.pred(), np.eye(3)[index.pred(),])
  np.testing.assert_array_equal(onehot.entropy(), index.entropy())
  np.testing.assert_array_equal(onehot.kl(other), index.kl(another))
  np.testing.assert_array_equal(onehot.entropy_range(), index.entropy_range())


@pytest.mark.parametrize('draw', ['sample', 'pred'])
def test_onehot_has_the_gradient_of_its_probabilities(draw):
  weights = np.float32([[3, -1, 2], [0.5, 4, 1]])
  args = (jax.random.key(0),) if draw == 'sample' else ()

  def through(logits):
    return (getattr(outputs.OneHot(logits), draw)(*args) * weights).sum()

  direct = lambda logits: (jax.nn.softmax(logits, -1) * weights).sum()
  found, expected = jax.grad(through)(LOGITS), jax.grad(direct)(LOGITS)
  assert np.abs(expected).min() > 1e-3
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_twohot_predicts_the_number_that_its_logits_encode():
  bins = symexp_bins(41)
  x = np.float32([-30, -0.25, 0, 7, 1000])
  logits = np.log(np.maximum(jax.jit(twohot)(x, bins), 1e-30))
  pred = jax.jit(lambda logits: outputs.TwoHot(logits, bins).pred())(logits)
  np.testing.assert_allclose(pred, x, rtol=1e-5, atol=1e-5)


def test_twohot_with_equal_logits_predicts_exactly_zero():
  pred = optimized(lambda x: outputs.TwoHot(x, symexp_bins(255)).pred())
  logits = np.full((2, 255), 0.3, np.float32)
  np.testing.assert_array_equal(pred(logits), [0, 0])


def test_twohot_loss_is_the_cross_entropy_of_the_weights():
  bins = np.float32([-1, 0, 2])
  logits = np.log(np.float32([[0.2, 0.3, 0.5]]))
  loss = jax.jit(lambda x, y: outputs.TwoHot(x, bins).loss(y))(
    logits + 3, np.float32([0.5])
  )
  expected = -0.75 * np.log(0.3) - 0.25 * np.log(0.5)
  np.testing.assert_allclose(loss, [expected], rtol=1e-6)


def test_multi_categorical_of_unequal_sizes():
  logits = (LOGITS, OTHERS[:, :2])
  parts = tuple(outputs.Categorical(x) for x in logits)
  output = outputs.MultiCategorical(parts, (len(parts),))
  event = np.array([[2, 1], [1, 0]])
  logp = parts[0].logp(event[:, 0]) + parts[1].logp(event[:, 1])
  np.testing.assert_array_equal(output.logp(event), logp)
  np.testing.assert_array_equal(output.pred(), [[0, 0], [1, 0]])
  entropy = parts[0].entropy() + parts[1].entropy()
  np.testing.assert_array_equal(output.entropy(), entropy)
  low, high = output.entropy_range()
  np.testing.assert_allclose(high, np.full(2, np.log(6)), rtol=1e-6)
  np.testing.assert_array_equal(low, np.zeros(2))
  swapped = outputs.MultiCategorical(
    [outputs.Categorical(x[::-1]) for x in logits], (len(logits),)
  )
  kl = sum(a.kl(b) for a, b in zip(parts, swapped.parts, strict=True))
  np.testing.assert_array_equal(output.kl(swapped), kl)
  assert (kl > 0.01).all()


def test_multi_categorical_draws_its_dimensions_independently():
  same = outputs.Categorical(np.zeros((N, 2), np.float32))
  draw = jax.jit(outputs.MultiCategorical((same, same), (2,)).sample)
  draws = np.asarray(draw(jax.random.key(3)))
  # Five standard deviations of a frequency.
  for pair in ((0, 0), (0, 1), (1, 0), (1, 1)):
    share = (draws == pair).all(-1).mean()
    assert abs(share - 0.25) < 5 * 0.44 / N**0.5


def test_independent_sums_its_event_axes():
  mean = np.float32(np.arange(24).reshape(2, 3, 4))
  target = np.float32(mean[::-1] * 0.5)

  @jax.jit
  def methods(mean, target):
    one = outputs.Normal(mean, jnp.full_like(mean, 2), (1.0, 3.0))
    two = outputs.Normal(target, jnp.full_like(mean, 1.5))
    pairs = {}
    for name, p, q in (
      ('each', one, two),
      ('sum', outputs.Independent(one, 2), outputs.Independent(two, 2)),
    ):
      answers = (p.loss(target), p.logp(target), p.entropy(), p.kl(q))
      pairs[name] = (*answers, *p.entropy_range())
    whole = outputs.Independent(one, 2)
    shapes = (whole.pred(), whole.sample(jax.random.key(0)))
    return pairs, shapes, (whole.prob(mean), whole.logp(mean))

  pairs, shapes, (prob, logp) = methods(mean, target)
  for each, found in zip(pairs['each'], pairs['sum'], strict=True):
    expected = np.asarray(each).sum((1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
  np.testing.assert_allclose(prob, np.exp(logp), rtol=1e-5)
  assert [x.shape for x in shapes] == [mean.shape] * 2
  assert outputs.Independent(outputs.MSE(mean), 2).entropy_range() is None


def test_an_event_of_rank_zero_is_the_output_itself():
  output = outputs.MSE(np.float32([1, 2]))
  assert outputs.event(output, 0) is output
  assert outputs.event(output, 1).loss(np.zeros(2)) == 5


def test_multi_categorical_keeps_the_shape_of_its_events():
  parts = [outputs.Categorical(jnp.eye(3)[:2] * (i + 1)) for i in range(4)]
  flat = outputs.MultiCategorical(parts, (4,))
  square = outputs.MultiCategorical(parts, (2, 2))
  assert square.pred().shape == (2, 2, 2)
  event = jnp.arange(8).reshape(2, 2, 2) % 3
  np.testing.assert_array_equal(
    square.logp(event), flat.logp(event.reshape(2, 4))
  )


@pytest.mark.parametrize(
  ('output', 'shape'),
  [
    (outputs.MSE(np.ones((2, 3))), (2, 3)),
    (outputs.Huber(np.ones((2, 3))), (2, 3)),
    (outputs.Normal(np.ones((2, 3)), np.ones((2, 3))), (2, 3)),
    (outputs.Binary(np.ones((2, 3))), (2, 3)),
    (outputs.Categorical(np.ones((2, 3, 5))), (2, 3)),
    (outputs.OneHot(np.ones((2, 3, 5))), (2, 3, 5)),
    (outputs.TwoHot(np.ones((2, 3, 5)), np.arange(-2.0, 3.0)), (2, 3)),
  ],
  ids=lambda x: type(x).__name__,
)
def test_an_event_does_not_spread_the_parameters(output, shape):
  assert output.loss(np.ones(shape, np.float32)).shape == (2, 3)
  for wrong in ((*shape, 1), (7, *shape), (*shape[:-1], shape[-1] + 1)):
    with pytest.raises(AssertionError, match='broadcast'):
      output.loss(np.ones(wrong, np.float32))
