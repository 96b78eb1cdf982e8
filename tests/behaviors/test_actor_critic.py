"""Losses of actor and critic, against the formulas written out."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from dreamer_nnx.acting.critic import Critic
from dreamer_nnx.acting.joint import Independent
from dreamer_nnx.acting.options import AgentOptions
from dreamer_nnx.acting.reinforce import normalize_advantage, reinforce
from dreamer_nnx.contracts import Dream
from dreamer_nnx.numerics import outputs
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import NORMALIZER

RNG = np.random.default_rng(0)
N, H = 4, 3
FEATURES = RNG.normal(size=(N, H + 1, 2)).astype(np.float32)
FEAT = {'x': FEATURES}
ACTION = {'action': RNG.integers(0, 3, (N, H + 1)).astype(np.int32)}
REWARD = RNG.normal(2, 1, (N, H + 1)).astype(np.float32)
CONT = RNG.uniform(0.2, 1, (N, H + 1)).astype(np.float32)
KERNEL = np.float32([[1, -1, 0.5], [0, 2, -0.5]])


class Fixed:
  """A normaliser of fixed statistics that keeps what it saw."""

  def __init__(self, offset=0.0, scale=1.0):
    self.seen, self.fixed = [], (offset, scale)

  def update(self, x):
    self.seen.append(np.asarray(x))

  def stats(self):
    return self.fixed


def value(feat):
  return outputs.MSE(feat['x'][..., 0])


def slow_value(feat):
  return outputs.MSE(0.5 * feat['x'][..., 1])


def linear_policy(scale=1.0):
  def policy(feat, *, given, mask):
    assert not given and not mask
    return Independent(
      {'action': outputs.Categorical(scale * feat['x'] @ KERNEL)}
    )

  return policy


def dream_of(options, feat=None):
  """A dream with the weights that `imagine` gives it."""
  disc = 1.0 if options.contdisc else options.discount
  weight = np.cumprod(disc * CONT, 1) / disc
  return Dream(feat or FEAT, ACTION, REWARD, CONT, weight)


def losses_of(dream, critic, policy, retnorm, advnorm, options, update):
  """As `ActorCritic.imagined` puts the pieces together."""
  score = critic.score(dream, dream.reward, update)
  advantage, metrics = normalize_advantage(
    score.returns, score.advantage, retnorm, advnorm, update
  )
  loss, more = reinforce(policy, dream, advantage, options.actent)
  losses = {'policy': loss, 'value': score.loss}
  return losses, score.returns, metrics | score.metrics | more


def run(
  retnorm=None, valnorm=None, advnorm=None, update=True, scale=1.0, **options
):
  norms = [norm or Fixed() for norm in (retnorm, advnorm)]
  options = AgentOptions(horizon=10, **options)
  critic = Critic(value, slow_value, valnorm or Fixed(), options)
  return losses_of(
    dream_of(options), critic, linear_policy(scale), *norms, options, update
  )


def returns_of(boot, disc, lam=0.95):
  """Rₜ = rₜ₊₁ + γ cₜ₊₁ ((1 - λ) vₜ₊₁ + λ Rₜ₊₁)."""
  result, after = [], boot[:, -1]
  for t in reversed(range(H)):
    mixed = (1 - lam) * boot[:, t + 1] + lam * after
    after = REWARD[:, t + 1] + disc * CONT[:, t + 1] * mixed
    result.append(after)
  return np.stack(result[::-1], 1)


def log_probs():
  logits = FEATURES @ KERNEL
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize('contdisc', [True, False])
@pytest.mark.parametrize('slowtar', [True, False])
def test_losses_by_hand(contdisc, slowtar):
  valnorm, retnorm, advnorm = Fixed(0.5, 2), Fixed(0, 4), Fixed(-1, 3)
  losses, returns, _ = run(
    retnorm, valnorm, advnorm, contdisc=contdisc, slowtar=slowtar, actent=0.1
  )
  disc = 1 if contdisc else 0.9
  target = (0.5 * FEATURES[..., 1] if slowtar else FEATURES[..., 0]) * 2 + 0.5
  expected = returns_of(target, disc)
  np.testing.assert_allclose(returns, expected, rtol=1e-5)

  weight = (np.cumprod(disc * CONT, 1) / disc)[:, :-1]
  adv = ((expected - target[:, :-1]) / 4 + 1) / 3
  logp = log_probs()[:, :-1]
  chosen = np.take_along_axis(logp, ACTION['action'][:, :-1, None], -1)[..., 0]
  entropy = -(np.exp(logp) * logp).sum(-1)
  actor = -weight * (chosen * adv + 0.1 * entropy)
  np.testing.assert_allclose(losses['policy'], actor, rtol=1e-4, atol=1e-5)

  mean, slow = FEATURES[:, :-1, 0], 0.5 * FEATURES[:, :-1, 1]
  critic = (mean - (expected - 0.5) / 2) ** 2 + (mean - slow) ** 2
  np.testing.assert_allclose(losses['value'], weight * critic, rtol=1e-4)


def test_normalisers_learn_from_returns_and_advantages():
  retnorm, valnorm, advnorm = Fixed(0, 4), Fixed(), Fixed()
  _, returns, metrics = run(retnorm, valnorm, advnorm)
  np.testing.assert_array_equal(retnorm.seen, [returns])
  np.testing.assert_array_equal(valnorm.seen, [returns])
  np.testing.assert_allclose(advnorm.seen[0].mean(), metrics['adv'], rtol=1e-5)


def test_normalisers_learn_nothing_without_update():
  norms = [Fixed() for _ in range(3)]
  run(*norms, update=False)
  assert [norm.seen for norm in norms] == [[], [], []]


def test_returns_are_normalised_by_statistics_that_know_them():
  # At a rate of 1 the scale is that of these very returns.
  norm = Choice(NORMALIZER, 'perc', rate=1.0, debias=False)()
  _, returns, metrics = run(norm)
  low, high = np.percentile(returns, [5, 95])
  value = FEATURES[:, :-1, 0]
  expected = (np.asarray(returns) - value) / (high - low)
  np.testing.assert_allclose(metrics['adv'], expected.mean(), rtol=1e-5)
  normed = (np.asarray(returns) - low) / (high - low)
  np.testing.assert_allclose(metrics['ret'], normed.mean(), rtol=1e-5)
  np.testing.assert_allclose(metrics['ret_rate'], (normed >= 1).mean())


def test_gradients_stay_with_their_own_loss():
  def totals(actor, critic):
    options = AgentOptions()
    scaled = lambda feat: outputs.MSE(feat['x'][..., 0] * critic)
    losses, _, _ = losses_of(
      dream_of(options),
      Critic(scaled, slow_value, Fixed(), options),
      linear_policy(actor),
      Fixed(),
      Fixed(),
      options,
      False,
    )
    return {name: x.sum() for name, x in losses.items()}

  slopes = jax.jit(jax.jacrev(totals, (0, 1)))(0.5, 2.0)
  assert slopes['policy'][0] != 0 and slopes['policy'][1] == 0
  assert slopes['value'][0] == 0 and slopes['value'][1] != 0


@pytest.mark.parametrize(('scale', 'share'), [(0.0, 1), (1e6, 0)])
def test_entropy_is_reported_between_its_extremes(scale, share):
  _, _, metrics = run(scale=scale)
  assert metrics['rand/action'] == pytest.approx(share, abs=1e-3)
  assert metrics['ent/action'] == pytest.approx(share * np.log(3), abs=1e-3)


def test_a_single_class_is_at_neither_extreme():
  single = outputs.Categorical(np.zeros((N, H + 1, 1), np.float32))
  policy = lambda feat, given, mask: Independent({'action': single})
  dream = dream_of(AgentOptions())
  dream = dataclasses.replace(
    dream, action={'action': np.zeros((N, H + 1), np.int32)}
  )
  _, metrics = reinforce(policy, dream, np.zeros((N, H)), 0.1)
  assert metrics['rand/action'] == metrics['ent/action'] == 0


STEPS = {
  'reward': REWARD,
  'is_last': np.array([[0, 0, 1, 0]] * 2 + [[0, 1, 0, 0]] * 2, bool),
  'is_terminal': np.array([[0, 0, 1, 0]] + [[0] * 4] * 3, bool),
}


def test_replay_losses_by_hand():
  boot = RNG.normal(size=(N, H + 1)).astype(np.float32)
  valnorm = Fixed(0.5, 2)
  options = AgentOptions(horizon=10, repval_lam=0.8, repval_slowreg=0.5)
  critic = Critic(value, slow_value, valnorm, options)
  loss = critic.replay_loss(FEAT, STEPS, boot, True)
  live = 0.9 * (1.0 - STEPS['is_terminal'])
  lam = 0.8 * (1.0 - STEPS['is_last'])
  returns, after = [], boot[:, -1]
  for t in reversed(range(H)):
    mixed = (1 - lam[:, t + 1]) * boot[:, t + 1] + lam[:, t + 1] * after
    after = REWARD[:, t + 1] + live[:, t + 1] * mixed
    returns.append(after)
  returns = np.stack(returns[::-1], 1)
  np.testing.assert_allclose(valnorm.seen, [returns], rtol=1e-5)
  mean, slow = FEATURES[:, :-1, 0], 0.5 * FEATURES[:, :-1, 1]
  whole = (mean - (returns - 0.5) / 2) ** 2 + 0.5 * (mean - slow) ** 2
  expected = whole * ~STEPS['is_last'][:, :-1]
  assert loss.shape == (N, H)
  np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_replayed_rewards_are_scaled_and_the_batch_is_left_alone():
  boot, reward = np.zeros((N, H + 1), np.float32), REWARD.copy()
  replayed = SimpleNamespace(
    steps=STEPS | {'reward': reward}, observed=SimpleNamespace(feat=FEAT)
  )
  critic = Critic(value, slow_value, Fixed(), AgentOptions(extrinsic_scale=0.5))
  found = critic.replay_losses(replayed, boot, False)['repval']
  half = STEPS | {'reward': 0.5 * REWARD}
  np.testing.assert_allclose(
    found, critic.replay_loss(FEAT, half, boot, False), rtol=1e-5
  )
  np.testing.assert_array_equal(reward, REWARD)


def test_replayed_returns_have_no_gradient():
  critic = Critic(value, slow_value, Fixed(), AgentOptions())

  def total(boot, features):
    return critic.replay_loss({'x': features}, STEPS, boot, False).sum()

  boot, features = jax.jit(jax.grad(total, (0, 1)))(REWARD, FEATURES)
  np.testing.assert_array_equal(boot, np.zeros_like(boot))
  assert features[..., 0].any()
  # That of the slow value is the second feature.
  np.testing.assert_array_equal(features[..., 1], np.zeros((N, H + 1)))


def test_denormalised_predictions_are_in_reward_units():
  critic = Critic(value, slow_value, Fixed(3.0, 10.0), AgentOptions())
  np.testing.assert_array_equal(critic.denormalize(np.float32([0, 2])), [3, 23])
