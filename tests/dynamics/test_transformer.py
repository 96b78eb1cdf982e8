"""The transformer's window, and what its dreams keep in memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.dynamics.attention import Attention, Steps
from dreamer_nnx.dynamics.transformer import Transformer
from dreamer_nnx.errors import UserError
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


def test_a_layer_attends_with_its_bias_and_to_visible_steps_alone():
  make = lambda rngs: Attention(
    6, 2, 4, winit='normal_in', precision=Precision('float32'), rngs=rngs
  )
  attention = filled(make)
  queries, keys, values = RNG.normal(size=(3, 2, 5, 6)).astype(np.float32)
  distance = np.arange(5)[:, None] - np.arange(5)
  visible = (distance >= 0) & (distance < 4)
  bias = np.asarray(attention.bias[...])
  expected = np.zeros((2, 5, 6))
  for b, q, h in np.ndindex(2, 5, 2):
    part = slice(3 * h, 3 * h + 3)
    seen = np.flatnonzero(visible[q])
    scores = keys[b, seen, part] @ queries[b, q, part] / 3**0.5
    weights = np.exp(scores + bias[h, q - seen])
    weights /= weights.sum()
    expected[b, q, part] = weights @ values[b, seen, part]
  spread = lambda x: np.broadcast_to(x, (2, 5, 5))
  steps = Steps(keys, values, spread(distance), spread(visible))
  found = attention(queries, [steps])
  expected = attention.out(expected.astype(np.float32))
  np.testing.assert_allclose(found, expected, atol=1e-5)
  # The same in two sources, one of them with steps of its own for each query.
  first, rest = (
    Steps(
      keys[:, i],
      values[:, i],
      *(spread(x)[..., i] for x in (distance, visible)),
    )
    for i in (slice(2), slice(2, 5))
  )
  own = lambda x: np.repeat(x[:, None], 5, 1)
  rest = Steps(own(rest.keys), own(rest.values), rest.distance, rest.visible)
  np.testing.assert_allclose(
    attention(queries, [first, rest]), found, atol=1e-5
  )


def size(tree):
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


@pytest.mark.parametrize(('window', 'layers'), [(64, 1), (253, 4)])
def test_dreams_share_what_was_before_them(window, layers):
  rows, steps, deter, horizon = 16, 64, 512, 16
  precision = Precision('bfloat16')
  kw = dict(deter=deter, window=window, layers=layers, precision=precision)

  def starts():
    model = build(heads=8, horizon=horizon, **kw)
    carry = model.initial(rows)
    after, observed = model.observe(carry, *inputs(rows, steps), KEY)
    return after, model.starts(carry, observed, steps)

  carry, shared = jax.eval_shape(starts)
  pair = 2 * layers * deter * 2  # Keys and values of a step, in bytes.
  prefix = rows * (63 + steps) * pair
  rings = rows * steps * horizon * pair
  small = rows * steps * (4 + 4 + 2 * 12)
  assert size(shared) == prefix + rings + small
  copies = steps * size(carry)
  assert size(shared) < 0.4 * copies


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
    (dict(window=2), 'window = 2: must be above layers, which is 2.'),
  ],
)
def test_sizes_that_do_not_fit_are_refused(kw, message):
  with pytest.raises(UserError, match=message):
    build(**kw)
