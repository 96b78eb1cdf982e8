"""The RSSM: a scan is a loop of steps, and gradients go where they should."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.dynamics.rssm import RSSM, LogitNet
from dreamer_nnx.nn.precision import Precision
from tests.filling import filled
from tests.parity import deterministic

B, T, E = 3, 4, 5
SPACE = {
  'move': gs.Box(-1, 1, (2,), np.float32),
  'jump': gs.MultiDiscrete([2, 3]),
}
RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(B, T, E)).astype(np.float32)
ACTION = {
  'move': RNG.uniform(-1, 1, (B, T, 2)).astype(np.float32),
  'jump': RNG.integers(0, 2, (B, T, 2)).astype(np.int32),
}
IS_FIRST = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 1, 0]], bool)
LATENT = {
  'deter': RNG.normal(size=(B, 8)).astype(np.float32),
  'stoch': np.eye(4, dtype=np.float32)[RNG.integers(0, 4, (B, 3))],
}


@functools.cache
def make(compute='float32', **kw):
  precision = Precision(compute)
  options = dict(deter=8, hidden=8, stoch=3, classes=4, blocks=2, imglayers=1)
  return filled(
    lambda rngs: RSSM(E, SPACE, **options | kw, precision=precision, rngs=rngs)
  )


observe = jax.jit(RSSM.observe)
step = jax.jit(RSSM.step)
predict = jax.jit(RSSM.predict)


def at(tree, t):
  return jax.tree.map(lambda x: x[:, t], tree)


def close(found, expected, keys=('deter', 'stoch'), atol=1e-5):
  """Other shapes of the same sums are added up in another order."""
  for key in keys:
    np.testing.assert_allclose(
      found[key], expected[key], atol=atol, err_msg=key
    )


@pytest.mark.parametrize('absolute', [False, True])
def test_observe_equals_repeated_steps(absolute):
  rssm, key = make(absolute=absolute), jax.random.key(0)
  last, latents = observe(rssm, LATENT, TOKENS, ACTION, IS_FIRST, key)
  latent = LATENT
  for t, step_key in enumerate(jax.random.split(key, T)):
    inputs = at((TOKENS, ACTION, IS_FIRST), t)
    latent = step(rssm, latent, *inputs, step_key)
    close(at(latents, t), latent, ('deter', 'stoch', 'logit'))
  close(last, latent)
  assert latents['logit'].shape == (B, T, 3, 4)


def test_predict_equals_repeated_predictions():
  rssm, key = make(), jax.random.key(0)
  with deterministic():
    one = jax.jit(lambda *args: rssm.predict(*args, key))
    (last, latents), latent = one(LATENT, ACTION), LATENT
    for t in range(T):
      action = {k: x[:, t : t + 1] for k, x in ACTION.items()}
      latent, _ = one(latent, action)
      close(at(latents, t), latent)
  close(last, latent)


def test_imagine_equals_predicting_its_own_actions():
  rssm = make()

  def policy(latent, key):
    total = latent['deter'].sum(-1, keepdims=True)
    noise = jax.random.uniform(key, (B, 2), minval=-1)
    jump = (jnp.concatenate([total, -total], -1) > 0).astype(int)
    return {'move': noise, 'jump': jump}

  with deterministic():
    imagine = jax.jit(lambda key: rssm.imagine(LATENT, policy, T, key))
    latents, action = imagine(jax.random.key(1))
    repeat = jax.jit(lambda *args: rssm.predict(*args, jax.random.key(2)))
    _, expected = repeat(LATENT, action)
  close(latents, expected)
  # The first action is chosen at the start, the second at the first latent.
  jump = lambda deter: np.stack([deter.sum(-1) > 0, deter.sum(-1) < 0], -1)
  np.testing.assert_array_equal(action['jump'][:, 0], jump(LATENT['deter']))
  np.testing.assert_array_equal(
    action['jump'][:, 1:], jump(np.asarray(latents['deter'])[:, :-1])
  )
  assert len(np.unique(action['move'])) == B * T * 2


def test_imagination_hands_the_policy_no_gradient():
  rssm = make()

  def policy(latent, key):
    move = jnp.tanh(latent['deter'][:, :2] + latent['stoch'][:, 0, :2])
    return {'move': move, 'jump': jnp.zeros((B, 2), int)}

  def first_action(latent):
    _, action = rssm.imagine(latent, policy, 2, jax.random.key(0))
    return action['move'][:, 0].sum()

  slopes = jax.jit(jax.grad(first_action))(LATENT)
  for x in slopes.values():
    np.testing.assert_array_equal(x, np.zeros_like(x))


def test_first_steps_forget_what_was_before():
  rssm, key = make(), jax.random.key(0)
  start = rssm.initial(B)
  nothing = {k: np.zeros_like(x[:, 0]) for k, x in ACTION.items()}
  tokens, is_first = TOKENS[:, 0], np.array([True, False, True])
  fresh = step(rssm, start, tokens, at(ACTION, 0), is_first, key)
  found = step(rssm, LATENT, tokens, at(ACTION, 1), is_first, key)
  for name in ('deter', 'stoch', 'logit'):
    np.testing.assert_array_equal(found[name][::2], fresh[name][::2])
    assert name == 'stoch' or (found[name][1] != fresh[name][1]).any()
  # Not an action of zeros, whose first class would be hot, but none at all.
  never = np.zeros(B, bool)
  other = step(rssm, start, tokens, nothing, never, key)
  assert (np.abs(other['deter'] - fresh['deter'])[::2] > 1e-6).any()


def test_initial_latents_are_zero_in_the_compute_format():
  latent = make('bfloat16').initial(2)
  shapes = {k: x.shape for k, x in latent.items()}
  assert shapes == {'deter': (2, 8), 'stoch': (2, 3, 4)}
  for x in latent.values():
    assert x.dtype == jnp.bfloat16 and not x.any()


def test_features_are_deter_then_flat_stoch():
  rssm = make()
  features = rssm.features(LATENT)
  assert features.shape == (B, rssm.feature_size)
  np.testing.assert_array_equal(features[:, :8], LATENT['deter'])
  np.testing.assert_array_equal(features[:, 8:], LATENT['stoch'].reshape(B, 12))


def test_samples_are_one_hot():
  args = (TOKENS, ACTION, IS_FIRST, jax.random.key(3))
  _, latents = observe(make(), LATENT, *args)
  _, dreamt = predict(make(), LATENT, ACTION, jax.random.key(3))
  for stoch in (latents['stoch'], dreamt['stoch']):
    # The straight-through gradient adds p - p, which rounds.
    np.testing.assert_allclose(np.sort(stoch, -1)[..., :-1], 0, atol=1e-6)
    np.testing.assert_allclose(stoch.sum(-1), 1, atol=1e-6)


def test_samples_have_the_mixed_probabilities():
  rssm = make(unimix=0.4)
  count = 4000
  tile = lambda x: np.broadcast_to(x[:1], (count, *x.shape[1:]))
  args = (at(TOKENS, 0), at(ACTION, 0), at(IS_FIRST, 0))
  args = jax.tree.map(tile, args)
  latent = jax.tree.map(tile, LATENT)
  new = step(rssm, latent, *args, jax.random.key(0))
  probs = 0.6 * jax.nn.softmax(new['logit'][0], -1) + 0.4 / 4
  # Five standard deviations of a frequency.
  found = np.asarray(new['stoch']).mean(0)
  np.testing.assert_allclose(found, probs, atol=5 * 0.5 / count**0.5)


def posterior():
  args = (TOKENS, ACTION, IS_FIRST, jax.random.key(0))
  return observe(make(), LATENT, *args)[1]


def test_losses_are_the_divergence_of_mixed_probabilities():
  rssm = make(free_nats=0.0)
  latents = posterior()
  losses, metrics = jax.jit(RSSM.losses)(rssm, latents)
  softmax = lambda x: np.asarray(jax.nn.softmax(x, -1), np.float64)
  mixed = lambda x: 0.99 * softmax(x) + 0.01 / 4
  post, prior = mixed(latents['logit']), mixed(rssm.prior(latents['deter']))
  expected = (post * np.log(post / prior)).sum((-2, -1))
  assert expected.min() > 1e-3
  for name in ('dyn', 'rep'):
    np.testing.assert_allclose(losses[name], expected, rtol=1e-4)
  entropy = lambda p: -(p * np.log(p)).sum((-2, -1)).mean()
  np.testing.assert_allclose(metrics['rep_ent'], entropy(post), rtol=1e-5)
  np.testing.assert_allclose(metrics['dyn_ent'], entropy(prior), rtol=1e-5)


def test_free_nats_clip_losses_from_below():
  latents = posterior()
  whole, _ = jax.jit(RSSM.losses)(make(free_nats=0.0), latents)
  free = float(np.median(whole['dyn']))
  clipped, _ = jax.jit(RSSM.losses)(make(free_nats=free), latents)
  for name, x in whole.items():
    np.testing.assert_allclose(clipped[name], np.maximum(x, free), rtol=1e-5)
    assert (clipped[name] > x).any() and (clipped[name] == x).any()


def test_dyn_trains_the_prior_and_rep_the_posterior():
  rssm = make(free_nats=0.0)
  graphdef, params = nnx.split(rssm)
  latents = posterior()

  def total(name, params, logit):
    model = nnx.merge(graphdef, params)
    return model.losses(latents | {'logit': logit})[0][name].sum()

  slopes = {
    name: jax.jit(jax.grad(functools.partial(total, name), (0, 1)))(
      params, latents['logit']
    )
    for name in ('dyn', 'rep')
  }
  reaches = {
    name: (
      any(np.any(x) for x in jax.tree.leaves(prior)),
      np.any(np.asarray(logit)),
    )
    for name, (prior, logit) in slopes.items()
  }
  assert reaches == {'dyn': (True, False), 'rep': (False, True)}


def test_gradient_reaches_the_first_token_from_the_last_latent():
  rssm = make()
  never = np.zeros((B, T), bool)

  def last(tokens):
    args = (tokens, ACTION, never, jax.random.key(0))
    return (rssm.observe(LATENT, *args)[0]['deter'] ** 2).sum()

  slope = np.asarray(jax.jit(jax.grad(last))(TOKENS))
  # The last token comes after the last deter; the others through stoch.
  assert (np.abs(slope[:, :-1]).max((0, 2)) > 0).all()
  np.testing.assert_array_equal(slope[:, -1], np.zeros((B, E)))


def test_absolute_posterior_reads_the_tokens_alone():
  rssm = make(absolute=True)
  args = (at(TOKENS, 0), at(ACTION, 0), np.zeros(B, bool), jax.random.key(0))
  one, two = step(rssm, LATENT, *args), step(rssm, rssm.initial(B), *args)
  np.testing.assert_array_equal(one['logit'], two['logit'])
  assert (one['deter'] != two['deter']).any()


def test_order_of_rows_does_not_matter():
  rssm = make()
  order = [2, 0, 1]
  args = (LATENT, TOKENS, ACTION, IS_FIRST)
  with deterministic():
    run = jax.jit(lambda args: rssm.observe(*args, jax.random.key(0))[1])
    found = run(jax.tree.map(lambda x: x[order], args))
    expected = jax.tree.map(lambda x: x[jnp.array(order)], run(args))
  close(found, expected, ('deter', 'stoch', 'logit'))


def test_bfloat16_is_near_float32():
  args = (at(TOKENS, 0), at(ACTION, 0), at(IS_FIRST, 0), jax.random.key(0))
  found, exact = (
    step(make(name), LATENT, *args) for name in ('bfloat16', 'float32')
  )
  for key in ('deter', 'logit'):
    assert found[key].dtype == jnp.bfloat16
    # 8 bits of mantissa, on values up to 3 behind two norms.
    np.testing.assert_allclose(
      found[key].astype(np.float32), exact[key], atol=0.06
    )


@pytest.mark.parametrize('layers', [0, 2])
def test_logits_are_their_first_map_and_the_rest(layers):
  net = filled(
    lambda rngs: LogitNet(
      E,
      (3, 4),
      layers=layers,
      hidden=6,
      outscale=1.0,
      act='silu',
      norm='rms',
      winit='trunc_normal_in',
      precision=Precision(),
      rngs=rngs,
    )
  )
  x = TOKENS
  for layer in net.layers:
    x = layer(x)
  expected = net.out(x).reshape(B, T, 3, 4)
  np.testing.assert_allclose(net(TOKENS), expected, atol=1e-6)
  first = net.first
  parts = (
    first.split(TOKENS[..., :2], 0)
    + first.split(TOKENS[..., 2:], 2)
    + first.bias[...]
  )
  np.testing.assert_allclose(net.after_first(parts), expected, atol=1e-5)
