"""The transformer's window, and what its dreams keep in memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.dynamics.transformer import Transformer
from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.attention import Attention, Steps
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import STOCHASTIC
from tests.filling import filled
from tests.parity import deterministic

SPACE = {'move': gs.Box(-1, 1, (2,), np.float32)}
RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
PARTS = Choice(STOCHASTIC, 'categorical', stoch=3, classes=4)


def build(rngs=None, **kw):
  options = dict(deter=8, hidden=8, heads=2, layers=2, window=7)
  options |= dict(stochastic=PARTS, precision=Precision('float32')) | kw
  return Transformer(5, SPACE, rngs=rngs or nnx.Rngs(0), **options)


def inputs(rows, steps):
  draw = lambda n: RNG.uniform(-1, 1, (rows, steps, n)).astype(np.float32)
  return draw(5), {'move': draw(2)}, np.zeros((rows, steps), bool)


@pytest.mark.parametrize(
  ('window', 'layers', 'context'),
  [(7, 2, 7), (8, 2, 7), (64, 4, 61), (9, 1, 9)],
)
def test_a_state_depends_on_the_steps_of_its_context(window, layers, context):
  model = filled(lambda rngs: build(rngs, window=window, layers=layers))
  assert model.context == context <= window
  tokens, action, is_first = inputs(1, context + 3)

  def last(move):
    args = tokens, {'move': move}, is_first, KEY
    _, observed = model.observe(model.initial(1), *args)
    return jnp.square(observed.feat['deter'][:, -1]).sum()

  with deterministic():
    slope = np.abs(jax.jit(jax.grad(last))(action['move'])).max((0, 2))
  np.testing.assert_array_equal(slope[:3], np.zeros(3))
  assert (slope[3:] > 0).all()


@pytest.mark.parametrize('kv_heads', [1, 2, 4])
def test_a_layer_attends_with_its_bias_and_to_visible_steps_alone(kv_heads):
  heads, part = 4, 2
  make = lambda rngs: Attention(
    heads * part,
    heads,
    kv_heads,
    4,
    winit='normal_in',
    precision=Precision('float32'),
    rngs=rngs,
  )
  attention = filled(make)
  x = RNG.normal(size=(2, 5, heads * part)).astype(np.float32)
  queries, keys, values = (np.asarray(x) for x in attention.project(x))
  assert keys.shape == values.shape == (2, 5, kv_heads * part)
  distance = np.arange(5)[:, None] - np.arange(5)
  visible = (distance >= 0) & (distance < 4)
  bias = np.asarray(attention.bias[...])
  expected = np.zeros((2, 5, heads * part))
  for b, q, h in np.ndindex(2, 5, heads):
    own = slice(part * h, part * (h + 1))
    group = h * kv_heads // heads
    shared = slice(part * group, part * (group + 1))
    seen = np.flatnonzero(visible[q])
    scores = keys[b, seen, shared] @ queries[b, q, own] / part**0.5
    weights = np.exp(scores + bias[h, q - seen])
    weights /= weights.sum()
    expected[b, q, own] = weights @ values[b, seen, shared]
  spread = lambda x: np.broadcast_to(x, (2, 5, 5))
  whole = Steps(keys, values, spread(distance), spread(visible))
  found = attention(queries, [whole])
  expected = attention.out(expected.astype(np.float32))
  np.testing.assert_allclose(found, expected, atol=1e-5)
  # The same from two sources, one with steps of its own for each query.
  cut = lambda i: [x[..., i] for x in (whole.distance, whole.visible)]
  copied = lambda x: np.repeat(x[:, None, 2:], 5, 1)
  sources = [
    Steps(keys[:, :2], values[:, :2], *cut(slice(2))),
    Steps(copied(keys), copied(values), *cut(slice(2, 5))),
  ]
  np.testing.assert_allclose(attention(queries, sources), found, atol=1e-5)


def size(tree):
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


@pytest.mark.parametrize('kv_heads', [1, 8])
@pytest.mark.parametrize(('window', 'layers'), [(64, 1), (253, 4)])
def test_dreams_share_what_was_before_them(window, layers, kv_heads):
  rows, steps, deter, horizon = 16, 64, 512, 16
  precision = Precision('bfloat16')
  kw = dict(deter=deter, window=window, layers=layers, precision=precision)
  kw |= dict(kv_heads=kv_heads, heads=8)

  def starts():
    model = build(horizon=horizon, **kw)
    carry = model.initial(rows)
    after, observed = model.observe(carry, *inputs(rows, steps), KEY)
    return after, model.starts(carry, observed, steps)

  carry, shared = jax.eval_shape(starts)
  pair = 2 * layers * (kv_heads * deter // 8) * 2  # Of a step, in bytes.
  prefix = rows * (63 + steps) * pair
  rings = rows * steps * horizon * pair
  small = rows * steps * (4 + 4 + 2 * 12)
  assert size(shared) == prefix + rings + small
  copies = steps * size(carry)
  assert size(shared) < 0.4 * copies


def test_dreams_take_little_beside_the_steps_they_start_from():
  rows, steps = 16, 64

  def sizes():
    kw = dict(token_size=1024, action_space=SPACE, rngs=nnx.Rngs(0))
    model = Transformer(**kw, precision=Precision('bfloat16'))
    carry = model.initial(rows)
    tokens, action, is_first = inputs(rows, steps)
    tokens = jnp.zeros((rows, steps, 1024))
    _, observed = model.observe(carry, tokens, action, is_first, KEY)
    return (carry, observed), model.starts(carry, observed, steps)

  given, starts = map(size, jax.eval_shape(sizes))
  assert starts < 3 * given


def test_a_dream_longer_than_its_horizon_forgets_what_it_imagined_first():
  make = lambda horizon: filled(
    lambda rngs: build(rngs, window=9, layers=1, horizon=horizon)
  )

  def dream(model, length=6):
    carry = model.initial(2)
    args = inputs(2, 6)
    _, observed = model.observe(carry, *args, KEY)
    rows, feats = model.starts(carry, observed, 1), []
    for _ in range(length):
      rows, feat = model.predict(rows, {'move': jnp.ones((2, 2))}, KEY)
      feats.append(feat['deter'])
    return jnp.stack(feats, 1)

  with deterministic():
    state = RNG.bit_generator.state
    exact = dream(make(9))
    RNG.bit_generator.state = state
    short = dream(make(4))
  np.testing.assert_allclose(short[:, :4], exact[:, :4], atol=1e-5)
  assert (np.abs(short[:, 4:] - exact[:, 4:]).max((0, 2)) > 1e-4).all()


@pytest.mark.parametrize(
  ('kw', 'message'),
  [
    (dict(deter=9), 'deter = 9: must be a multiple of heads, which is 2.'),
    (
      dict(heads=4, kv_heads=3),
      'kv_heads = 3: must be a divisor of heads, which is 4.',
    ),
    (dict(window=2), 'window = 2: must be above layers, which is 2.'),
  ],
)
def test_sizes_that_do_not_fit_are_refused(kw, message):
  with pytest.raises(UserError, match=message):
    build(**kw)
