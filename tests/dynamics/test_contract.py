"""What all dynamics promise: see `contracts.Dynamics`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx import contracts
from dreamer_nnx.nn import loops
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import DYNAMICS, STOCHASTIC
from tests.filling import filled
from tests.parity import deterministic

B, T, E = 3, 7, 5
SPACE = {
  'move': gs.Box(-1, 1, (2,), np.float32),
  'jump': gs.Discrete(3),
}
STOCH = {
  'categorical': dict(stoch=3, classes=4),
  'gaussian': dict(stoch=4),
  'fsq': dict(stoch=6, levels=4),
}
SIZES = {
  'rssm': dict(deter=8, blocks=2),
  'gru': dict(deter=8),
  'ssm': dict(deter=8, state=6, layers=2),
  'transformer': dict(deter=8, layers=2, heads=2, window=7, horizon=4),
}
EVERY = [(name, 'categorical') for name in SIZES]
EVERY += [('gru', 'gaussian'), ('transformer', 'fsq')]
ALL = pytest.mark.parametrize(
  ('name', 'stoch'), EVERY, ids=map('-'.join, EVERY)
)
RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(B, T, E)).astype(np.float32)
ACTION = {
  'move': RNG.uniform(-1.5, 1.5, (B, T, 2)).astype(np.float32),
  'jump': RNG.integers(0, 3, (B, T)).astype(np.int32),
}
IS_FIRST = np.zeros((B, T), bool)
IS_FIRST[0, 2] = IS_FIRST[1, 0] = IS_FIRST[2, [0, 1, 5]] = True
NEVER = np.zeros((B, T), bool)
KEY = jax.random.key(0)


@functools.cache
def make(name, stoch, compute='float32', **kw):
  options = SIZES[name] | dict(hidden=8, free_nats=0.0) | kw
  options['stochastic'] = Choice(STOCHASTIC, stoch, **STOCH[stoch])
  precision, builder = Precision(compute), DYNAMICS.builder(name)
  return filled(
    lambda rngs: builder(E, SPACE, **options, precision=precision, rngs=rngs)
  )


def run(method, *args):
  """Calls a method of dynamics, compiled, with draws that need no key."""
  with deterministic():
    return _compiled(method)(*args)


@functools.cache
def _compiled(method):
  def call(dynamics, *args):
    return getattr(dynamics, method)(*args)

  static = (3,) if method == 'starts' else (1,) if method == 'initial' else ()
  return jax.jit(call, static_argnums=static)


def at(tree, t):
  return jax.tree.map(lambda x: x[:, t], tree)


def between(tree, start, stop):
  return jax.tree.map(lambda x: x[:, start:stop], tree)


def steps(start=0, stop=T, is_first=IS_FIRST):
  return between((TOKENS, ACTION, is_first), start, stop)


def observe(dynamics, carry, inputs=None):
  return run('observe', dynamics, carry, *(inputs or steps()), KEY)


def warm(dynamics):
  """A carry after some other steps."""
  flip = lambda x: x[:, ::-1]
  inputs = jax.tree.map(flip, steps(is_first=NEVER))
  return observe(dynamics, run('initial', dynamics, B), inputs)[0]


def close(found, expected, atol=1e-5):
  def compare(path, x, y):
    message = jax.tree_util.keystr(path)
    assert x.shape == y.shape and x.dtype == y.dtype, message
    x, y = (np.asarray(v, np.float64) for v in (x, y))
    np.testing.assert_allclose(x, y, atol=atol, err_msg=message)

  jax.tree_util.tree_map_with_path(compare, found, expected)


@ALL
def test_meets_the_protocol(name, stoch):
  dynamics = make(name, stoch)
  assert isinstance(dynamics, contracts.Dynamics)
  assert list(dynamics.feat_space) == ['deter', 'stoch']
  carry = run('initial', dynamics, B)
  assert {x.shape[0] for x in jax.tree.leaves(carry)} == {B}
  carry, observed = observe(dynamics, carry)
  for key, size in dynamics.feat_space.items():
    assert observed.feat[key].shape == (B, T, size)
    assert observed.feat[key].dtype == jnp.float32
  found = {
    key: jax.ShapeDtypeStruct(x.shape[2:], x.dtype)
    for key, x in observed.entry.items()
  }
  # What replay stores of a step has the bytes of `entry_space` alone.
  assert found == dict(dynamics.entry_space)
  assert {x.shape[0] for x in jax.tree.leaves(carry)} == {B}


@ALL
@pytest.mark.parametrize('fresh', [True, False])
def test_observe_equals_repeated_steps(name, stoch, fresh):
  dynamics = make(name, stoch)
  carry = run('initial', dynamics, B) if fresh else warm(dynamics)
  last, observed = observe(dynamics, carry)
  for t in range(T):
    inputs = at(steps(), t)
    carry, one = run('step', dynamics, carry, *inputs, jax.random.key(t))
    close(one, at(observed, t))
  close(carry, last)


@ALL
def test_observe_in_two_parts_equals_one(name, stoch):
  dynamics = make(name, stoch)
  carry = warm(dynamics)
  last, observed = observe(dynamics, carry)
  carry, one = observe(dynamics, carry, steps(0, 3))
  carry, two = observe(dynamics, carry, steps(3, T))
  close(one, between(observed, 0, 3))
  close(two, between(observed, 3, T))
  close(carry, last)


@ALL
def test_later_tokens_change_nothing_before(name, stoch):
  dynamics = make(name, stoch)
  carry = warm(dynamics)
  tokens, action, is_first = steps(is_first=NEVER)
  other = tokens.copy()
  other[:, 4:] *= -2
  _, one = observe(dynamics, carry, (tokens, action, is_first))
  _, two = observe(dynamics, carry, (other, action, is_first))
  close(between(two, 0, 4), between(one, 0, 4), atol=0)
  # The token of a step is in its own stoch, and in all deter after it.
  assert (np.asarray(one.feat['stoch'] != two.feat['stoch'])[:, 4]).any()
  np.testing.assert_array_equal(
    one.feat['deter'][:, 4], two.feat['deter'][:, 4]
  )
  assert (one.feat['deter'] != two.feat['deter'])[:, 5].any()


@ALL
def test_nothing_before_a_first_step_matters(name, stoch):
  dynamics = make(name, stoch)
  carry = warm(dynamics)
  is_first = NEVER.copy()
  is_first[:, 3] = True
  tokens, action, _ = steps()
  _, one = observe(dynamics, carry, (tokens, action, is_first))
  tokens, carry = tokens.copy(), run('initial', dynamics, B)
  action = {k: x.copy() for k, x in action.items()}
  tokens[:, :3] += 1
  action['move'][:, :4] *= -0.5
  action['jump'][:, :4] = 0
  _, two = observe(dynamics, carry, (tokens, action, is_first))
  close(between(two, 3, T).feat, between(one, 3, T).feat, atol=1e-6)
  assert (one.feat['deter'] != two.feat['deter'])[:, 2].any()


@ALL
def test_a_first_step_forgets_even_a_broken_carry(name, stoch):
  dynamics = make(name, stoch)
  broken = lambda x: x + np.nan if jnp.issubdtype(x.dtype, jnp.floating) else x
  carry = jax.tree.map(broken, warm(dynamics))
  is_first = NEVER.copy()
  is_first[:, 0] = True
  _, found = observe(dynamics, carry, steps(is_first=is_first))
  start = run('initial', dynamics, B)
  _, expected = observe(dynamics, start, steps(is_first=is_first))
  close(found.feat, expected.feat, atol=0)


@ALL
@pytest.mark.parametrize('first', [None, 0, 4])
def test_resume_goes_on_as_the_carry(name, stoch, first):
  dynamics, is_first = make(name, stoch), NEVER.copy()
  if first is not None:
    is_first[:, first] = True
  # A long past, of which replay hands over `context` steps.
  count = dynamics.context
  carry, observed = observe(dynamics, warm(dynamics), steps(is_first=is_first))
  context = between(
    contracts.Context(TOKENS, ACTION, is_first, observed.entry), T - count, T
  )
  unknown = jax.tree.map(lambda x: x.at[:, 0].set(0), as_jax(context.action))
  context = contracts.Context(
    context.tokens, unknown, context.is_first, context.entry
  )
  resumed = run('resume', dynamics, context)
  close(resumed, carry)
  found = observe(dynamics, resumed, steps(is_first=NEVER))[1]
  expected = observe(dynamics, carry, steps(is_first=NEVER))[1]
  close(found.feat, expected.feat)


def as_jax(tree):
  return jax.tree.map(jnp.asarray, tree)


@ALL
def test_resume_has_no_gradient(name, stoch):
  dynamics = make(name, stoch)
  _, observed = observe(dynamics, warm(dynamics))
  floats, rest = partition(observed.entry)

  def total(floats, dynamics):
    count = dynamics.context
    entry = between(floats | rest, T - count, T)
    context = between((TOKENS, ACTION, IS_FIRST), T - count, T)
    carry = dynamics.resume(contracts.Context(*context, entry))
    return sum(x.sum() for x in jax.tree.leaves(carry))

  graphdef, params = nnx.split(dynamics)
  merged = lambda floats, params: total(floats, nnx.merge(graphdef, params))
  slopes = jax.jit(jax.grad(merged, (0, 1)))(floats, params)
  assert not any(np.any(x) for x in jax.tree.leaves(slopes))


def partition(entry):
  floating = lambda x: jnp.issubdtype(x.dtype, jnp.floating)
  floats = {k: x for k, x in entry.items() if floating(x)}
  return floats, {k: x for k, x in entry.items() if k not in floats}


@ALL
def test_starts_go_on_as_the_carries_of_their_steps(name, stoch):
  dynamics, count, length = make(name, stoch), 3, 4
  before = warm(dynamics)
  _, observed = observe(dynamics, before)
  rows = run('starts', dynamics, before, observed, count)
  actions = [
    {
      'move': RNG.uniform(-1, 1, (B, count, 2)).astype(np.float32),
      'jump': RNG.integers(0, 3, (B, count)).astype(np.int32),
    }
    for _ in range(length)
  ]
  found = []
  for action in actions:
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), action)
    rows, feat = run('predict', dynamics, rows, flat, KEY)
    shaped = lambda x: x.reshape(B, count, *x.shape[1:])
    found.append(jax.tree.map(shaped, feat))
  carry = before
  for t in range(T):
    inputs = at(steps(), t)
    carry, _ = run('step', dynamics, carry, *inputs, KEY)
    k, dreamt = t - (T - count), carry
    for action, feat in zip(actions, found, strict=True):
      if k >= 0:
        dreamt, expected = run('predict', dynamics, dreamt, at(action, k), KEY)
        close(at(feat, k), expected)


@ALL
def test_gradients_reach_tokens_and_all_parameters(name, stoch):
  dynamics = make(name, stoch, imglayers=1)
  graphdef, params = nnx.split(dynamics)

  def total(params, tokens):
    dynamics = nnx.merge(graphdef, params)
    inputs = (tokens, ACTION, IS_FIRST, KEY)
    _, observed = dynamics.observe(dynamics.initial(B), *inputs)
    losses, _ = dynamics.losses(observed)
    feat = sum(jnp.square(x).sum() for x in observed.feat.values())
    return feat + sum(x.sum() for x in losses.values())

  slopes, tokens = jax.jit(jax.grad(total, (0, 1)))(params, TOKENS)
  assert np.all(np.abs(tokens).max(-1) > 0)
  for path, slope in nnx.to_flat_state(slopes):
    assert np.isfinite(slope[...]).all() and np.any(slope[...]), path


@ALL
def test_losses_are_of_every_step(name, stoch):
  dynamics = make(name, stoch)
  _, observed = observe(dynamics, run('initial', dynamics, B))
  losses, metrics = run('losses', dynamics, observed)
  assert {k: x.shape for k, x in losses.items()} == {
    'dyn': (B, T),
    'rep': (B, T),
  }
  assert all((x > 0).all() for x in losses.values())
  assert all(x.shape == () for x in metrics.values())
  high = make(name, stoch, free_nats=1e3)
  clipped, _ = run('losses', high, observed)
  assert all((x == 1e3).all() for x in clipped.values())


@ALL
def test_bfloat16_is_near_float32(name, stoch):
  _, exact = observe(*started(make(name, stoch)))
  dynamics = make(name, stoch, 'bfloat16')
  carry, found = observe(*started(dynamics))
  for x in found.feat.values():
    assert x.dtype == jnp.bfloat16
  entry = {k: (x.dtype, x.shape[2:]) for k, x in found.entry.items()}
  wanted = {k: (x.dtype, x.shape) for k, x in dynamics.entry_space.items()}
  assert entry == wanted
  unpacked = dynamics.stochastic.unpack(found.entry['stoch'])
  np.testing.assert_array_equal(dynamics.flat(unpacked), found.feat['stoch'])
  # Before a draw that rounding may turn: 8 bits of mantissa.
  exact, near = (x.feat['deter'][:, 0] for x in (exact, found))
  np.testing.assert_allclose(near.astype(np.float32), exact, atol=0.06)
  run('predict', dynamics, carry, at(ACTION, 0), KEY)


def started(dynamics):
  return dynamics, run('initial', dynamics, B)


@ALL
def test_parameters_name_their_axes(name, stoch):
  for path, param in nnx.to_flat_state(nnx.state(make(name, stoch))):
    axes = param.get_metadata().get('axes')
    assert axes and len(axes) == param[...].ndim, path


@pytest.mark.parametrize('name', SIZES)
def test_the_scan_of_the_toolkit_may_predict(name):
  dynamics = make(name, 'categorical')
  graphdef, params = nnx.split(dynamics)
  _, observed = observe(dynamics, run('initial', dynamics, B))

  def dream(params, scan):
    dynamics = nnx.merge(graphdef, params)
    carry = dynamics.starts(dynamics.initial(B), observed, 2)
    action = {'move': jnp.zeros((B * 2, 2)), 'jump': jnp.zeros(B * 2, int)}
    body = lambda carry, key: dynamics.predict(carry, action, key)
    _, feat = scan(body, carry, jax.random.split(KEY, 3))
    return sum(jnp.square(x).sum() for x in feat.values())

  with deterministic():
    grad = jax.jit(jax.value_and_grad(dream), static_argnums=1)
    close(grad(params, loops.scan), grad(params, jax.lax.scan), atol=1e-4)
