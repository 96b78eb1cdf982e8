"""The RSSM: a scan is a loop of steps, and gradients go where they should."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.acting.dream import dream, open_loop
from dreamer_nnx.contracts import Context
from dreamer_nnx.dynamics.latent import ParamNet
from dreamer_nnx.dynamics.rssm import RSSM
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import STOCHASTIC
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
CARRY = {
  'deter': RNG.normal(size=(B, 8)).astype(np.float32),
  'stoch': np.eye(4, dtype=np.float32)[RNG.integers(0, 4, (B, 3))],
}


@functools.cache
def make(compute='float32', unimix=0.01, **kw):
  precision = Precision(compute)
  part = Choice(STOCHASTIC, 'categorical', stoch=3, classes=4, unimix=unimix)
  options = dict(deter=8, hidden=8, stochastic=part, blocks=2, imglayers=1)
  return filled(
    lambda rngs: RSSM(E, SPACE, **options | kw, precision=precision, rngs=rngs)
  )


observe = jax.jit(RSSM.observe)
step = jax.jit(RSSM.step)
predict = jax.jit(RSSM.predict)


def carry_in(compute):
  return {k: jnp.asarray(x, compute) for k, x in CARRY.items()}


def context_of(entry):
  """A context of one step with this entry (B, ...)."""
  nothing = jnp.zeros((B, 1))
  return Context(
    nothing, {}, nothing, jax.tree.map(lambda x: x[:, None], entry)
  )


def at(tree, t):
  return jax.tree.map(lambda x: x[:, t], tree)


def close(found, expected, keys=('deter', 'stoch'), atol=1e-5):
  """Other shapes of the same sums are added up in another order."""
  for key in keys:
    np.testing.assert_allclose(
      found[key], expected[key], atol=atol, err_msg=key
    )


def flat(stoch):
  return np.reshape(stoch, (*stoch.shape[:-2], -1))


@pytest.mark.parametrize('absolute', [False, True])
def test_observe_equals_repeated_steps(absolute):
  rssm, key = make(absolute=absolute), jax.random.key(0)
  last, observed = observe(rssm, CARRY, TOKENS, ACTION, IS_FIRST, key)
  carry = CARRY
  for t, step_key in enumerate(jax.random.split(key, T)):
    inputs = at((TOKENS, ACTION, IS_FIRST), t)
    carry, one = step(rssm, carry, *inputs, step_key)
    now = at(observed, t)
    close(now.feat, one.feat)
    close(now.extra, one.extra, ('params',))
    close(now.entry, one.entry)
    # The features are the state after the step.
    np.testing.assert_array_equal(one.feat['deter'], carry['deter'])
    np.testing.assert_array_equal(one.feat['stoch'], flat(carry['stoch']))
  close(last, carry)
  assert observed.extra['params'].shape == (B, T, 12)


def test_open_loop_equals_repeated_predictions():
  rssm, key = make(), jax.random.key(0)
  with deterministic():
    feat = jax.jit(lambda: open_loop(rssm, CARRY, ACTION, key))()
    one, carry = jax.jit(lambda *args: rssm.predict(*args, key)), CARRY
    for t in range(T):
      carry, expected = one(carry, at(ACTION, t))
      close(at(feat, t), expected)
      np.testing.assert_array_equal(expected['stoch'], flat(carry['stoch']))


def features_of(carry):
  return {'deter': carry['deter'], 'stoch': flat(carry['stoch'])}


def test_a_dream_equals_predicting_its_own_actions():
  rssm = make()

  def policy(feat, memory, key):
    total = feat['deter'].sum(-1, keepdims=True)
    noise = jax.random.uniform(key, (B, 2), minval=-1)
    jump = (jnp.concatenate([total, -total], -1) > 0).astype(int)
    return {'move': noise, 'jump': jump}, memory, {}

  with deterministic():
    start = features_of(CARRY)
    roll = jax.jit(lambda key: dream(rssm, CARRY, start, policy, {}, T, key))
    feat, action, _ = roll(jax.random.key(1))
    repeat = jax.jit(lambda x: open_loop(rssm, CARRY, x, jax.random.key(2)))
    expected = repeat(jax.tree.map(lambda x: x[:, :-1], action))
  close(feat, expected)
  # The first action is chosen at the start, the second at the state after it.
  jump = lambda deter: np.stack([deter.sum(-1) > 0, deter.sum(-1) < 0], -1)
  np.testing.assert_array_equal(action['jump'][:, 0], jump(CARRY['deter']))
  np.testing.assert_array_equal(
    action['jump'][:, 1:], jump(np.asarray(feat['deter']))
  )
  assert len(np.unique(action['move'])) == B * (T + 1) * 2


def test_dreams_start_at_the_last_states_of_each_sequence_in_turn():
  rssm = make()
  _, observed = observe(
    rssm, CARRY, TOKENS, ACTION, IS_FIRST, jax.random.key(0)
  )
  starts = rssm.starts(CARRY, observed, 2)
  assert starts['stoch'].shape == (B * 2, 3, 4)
  for row, last in enumerate(starts['deter'].reshape(B, 2, 8)):
    np.testing.assert_array_equal(last, observed.feat['deter'][row, -2:])
  for row, last in enumerate(flat(starts['stoch']).reshape(B, 2, 12)):
    np.testing.assert_array_equal(last, observed.feat['stoch'][row, -2:])


def test_first_steps_forget_what_was_before():
  rssm, key = make(), jax.random.key(0)
  start = rssm.initial(B)
  nothing = {k: np.zeros_like(x[:, 0]) for k, x in ACTION.items()}
  tokens, is_first = TOKENS[:, 0], np.array([True, False, True])
  fresh = outcome(rssm, start, tokens, at(ACTION, 0), is_first, key)
  found = outcome(rssm, CARRY, tokens, at(ACTION, 1), is_first, key)
  for name in ('deter', 'stoch', 'params'):
    np.testing.assert_array_equal(found[name][::2], fresh[name][::2])
    assert name == 'stoch' or (found[name][1] != fresh[name][1]).any()
  # Not an action of zeros, whose first class would be hot, but none at all.
  never = np.zeros(B, bool)
  other = outcome(rssm, start, tokens, nothing, never, key)
  assert (np.abs(other['deter'] - fresh['deter'])[::2] > 1e-6).any()


def outcome(*args):
  """State and parameters after a step."""
  carry, observed = step(*args)
  return carry | observed.extra


def test_initial_carries_are_zero_in_the_compute_format():
  carry = make('bfloat16').initial(2)
  shapes = {k: x.shape for k, x in carry.items()}
  assert shapes == {'deter': (2, 8), 'stoch': (2, 3, 4)}
  for x in carry.values():
    assert x.dtype == jnp.bfloat16 and not x.any()


@pytest.mark.parametrize('compute', ['float32', 'bfloat16'])
def test_features_and_entries_are_as_their_spaces_say(compute):
  rssm = make(compute)
  assert list(rssm.feat_space.items()) == [('deter', 8), ('stoch', 12)]
  args = (at(TOKENS, 0), at(ACTION, 0), at(IS_FIRST, 0), jax.random.key(0))
  _, observed = step(rssm, carry_in(compute), *args)
  assert {k: x.shape for k, x in observed.feat.items()} == {
    k: (B, size) for k, size in rssm.feat_space.items()
  }
  assert {k: (x.shape, x.dtype) for k, x in observed.entry.items()} == {
    k: ((B, *x.shape), x.dtype) for k, x in rssm.entry_space.items()
  }
  assert rssm.entry_space['deter'].dtype == compute
  assert rssm.entry_space['stoch'] == jax.ShapeDtypeStruct((3,), np.uint8)


@pytest.mark.parametrize('compute', ['float32', 'bfloat16'])
def test_an_entry_gives_the_state_back(compute):
  rssm = make(compute)
  inputs = TOKENS, ACTION, IS_FIRST, jax.random.key(0)
  carry, observed = observe(rssm, carry_in(compute), *inputs)
  # As replay has it: on the host, and back.
  entry = jax.device_get(at(observed.entry, -1))
  again = rssm.resume(context_of(entry))
  assert again.keys() == carry.keys()
  for name, x in carry.items():
    assert again[name].dtype == x.dtype == compute
  np.testing.assert_array_equal(again['deter'], carry['deter'])
  np.testing.assert_array_equal(again['stoch'], carry['stoch'])


def test_the_last_of_several_entries_counts():
  rssm = make()
  entry = {
    'deter': np.random.default_rng(1).normal(size=(B, 3, 8)),
    'stoch': np.arange(B * 9).reshape(B, 3, 3).astype(np.uint8) % 4,
  }
  nothing = jnp.zeros((B, 3))
  found = rssm.resume(Context(nothing, {}, nothing, entry))
  expected = rssm.resume(context_of(at(entry, -1)))
  np.testing.assert_array_equal(found['deter'], expected['deter'])
  np.testing.assert_array_equal(found['stoch'], expected['stoch'])


def test_samples_are_one_hot():
  args = (TOKENS, ACTION, IS_FIRST, jax.random.key(3))
  _, observed = observe(make(), CARRY, *args)
  dreamt, _ = predict(make(), CARRY, at(ACTION, 0), jax.random.key(3))
  seen = observed.feat['stoch'].reshape(B, T, 3, 4)
  for stoch in (seen, dreamt['stoch']):
    hard = np.broadcast_to(np.eye(4)[-1], stoch.shape)
    np.testing.assert_array_equal(np.sort(stoch, -1), hard)


def test_samples_have_the_mixed_probabilities():
  rssm = make(unimix=0.4)
  count = 4000
  tile = lambda x: np.broadcast_to(x[:1], (count, *x.shape[1:]))
  args = (at(TOKENS, 0), at(ACTION, 0), at(IS_FIRST, 0))
  args = jax.tree.map(tile, args)
  carry = jax.tree.map(tile, CARRY)
  new = outcome(rssm, carry, *args, jax.random.key(0))
  probs = 0.6 * jax.nn.softmax(new['params'][0].reshape(3, 4), -1) + 0.4 / 4
  # Five standard deviations of a frequency.
  found = np.asarray(new['stoch']).mean(0)
  np.testing.assert_allclose(found, probs, atol=5 * 0.5 / count**0.5)


def posterior():
  args = (TOKENS, ACTION, IS_FIRST, jax.random.key(0))
  return observe(make(), CARRY, *args)[1]


def test_losses_are_the_divergence_of_mixed_probabilities():
  rssm = make(free_nats=0.0)
  observed = posterior()
  losses, metrics = jax.jit(RSSM.losses)(rssm, observed)
  logits = lambda x: x.reshape(B, T, 3, 4)
  softmax = lambda x: np.asarray(jax.nn.softmax(logits(x), -1), np.float64)
  mixed = lambda x: 0.99 * softmax(x) + 0.01 / 4
  post = mixed(observed.extra['params'])
  prior = mixed(rssm.prior(observed.feat['deter']))
  expected = (post * np.log(post / prior)).sum((-2, -1))
  assert expected.min() > 1e-3
  for name in ('dyn', 'rep'):
    np.testing.assert_allclose(losses[name], expected, rtol=1e-4)
  entropy = lambda p: -(p * np.log(p)).sum((-2, -1)).mean()
  np.testing.assert_allclose(metrics['rep_ent'], entropy(post), rtol=1e-5)
  np.testing.assert_allclose(metrics['dyn_ent'], entropy(prior), rtol=1e-5)


def test_free_nats_clip_losses_from_below():
  observed = posterior()
  whole, _ = jax.jit(RSSM.losses)(make(free_nats=0.0), observed)
  free = float(np.median(whole['dyn']))
  clipped, _ = jax.jit(RSSM.losses)(make(free_nats=free), observed)
  for name, x in whole.items():
    np.testing.assert_allclose(clipped[name], np.maximum(x, free), rtol=1e-5)
    assert (clipped[name] > x).any() and (clipped[name] == x).any()


def test_dyn_trains_the_prior_and_rep_the_posterior():
  rssm = make(free_nats=0.0)
  graphdef, params = nnx.split(rssm)
  observed = posterior()

  def total(name, params, post):
    model = nnx.merge(graphdef, params)
    other = dataclasses.replace(observed, extra={'params': post})
    return model.losses(other)[0][name].sum()

  slopes = {
    name: jax.jit(jax.grad(functools.partial(total, name), (0, 1)))(
      params, observed.extra['params']
    )
    for name in ('dyn', 'rep')
  }
  reaches = {
    name: (
      any(np.any(x) for x in jax.tree.leaves(prior)),
      np.any(np.asarray(post)),
    )
    for name, (prior, post) in slopes.items()
  }
  assert reaches == {'dyn': (True, False), 'rep': (False, True)}


def test_gradient_reaches_the_first_token_from_the_last_latent():
  rssm = make()
  never = np.zeros((B, T), bool)

  def last(tokens):
    args = (tokens, ACTION, never, jax.random.key(0))
    return (rssm.observe(CARRY, *args)[0]['deter'] ** 2).sum()

  slope = np.asarray(jax.jit(jax.grad(last))(TOKENS))
  # The last token comes after the last deter; the others through stoch.
  assert (np.abs(slope[:, :-1]).max((0, 2)) > 0).all()
  np.testing.assert_array_equal(slope[:, -1], np.zeros((B, E)))


def test_absolute_posterior_reads_the_tokens_alone():
  rssm = make(absolute=True)
  args = (at(TOKENS, 0), at(ACTION, 0), np.zeros(B, bool), jax.random.key(0))
  one, two = (outcome(rssm, x, *args) for x in (CARRY, rssm.initial(B)))
  np.testing.assert_array_equal(one['params'], two['params'])
  assert (one['deter'] != two['deter']).any()


def test_order_of_rows_does_not_matter():
  rssm = make()
  order = [2, 0, 1]
  args = (CARRY, TOKENS, ACTION, IS_FIRST)
  with deterministic():
    whole = lambda args: rssm.observe(*args, jax.random.key(0))[1]
    run = jax.jit(lambda args: whole(args).feat | whole(args).extra)
    found = run(jax.tree.map(lambda x: x[order], args))
    expected = jax.tree.map(lambda x: x[jnp.array(order)], run(args))
  close(found, expected, ('deter', 'stoch', 'params'))


def test_bfloat16_is_near_float32():
  args = (at(TOKENS, 0), at(ACTION, 0), at(IS_FIRST, 0), jax.random.key(0))
  found, exact = (
    outcome(make(name), carry_in(name), *args)
    for name in ('bfloat16', 'float32')
  )
  for key in ('deter', 'params'):
    assert found[key].dtype == jnp.bfloat16
    # 8 bits of mantissa, on values up to 3 behind two norms.
    np.testing.assert_allclose(
      found[key].astype(np.float32), exact[key], atol=0.06
    )


@pytest.mark.parametrize('layers', [0, 2])
def test_parameters_are_their_first_map_and_the_rest(layers):
  net = filled(
    lambda rngs: ParamNet(
      E,
      12,
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
  expected = net.out(x)
  np.testing.assert_allclose(net(TOKENS), expected, atol=1e-6)
  first = net.first
  parts = (
    first.split(TOKENS[..., :2], 0)
    + first.split(TOKENS[..., 2:], 2)
    + first.bias[...]
  )
  np.testing.assert_allclose(net.after_first(parts), expected, atol=1e-5)
