"""Heads over classes and bits."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import HEAD
from tests.filling import filled

X = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)


def box(*shape):
  return gs.Box(-np.inf, np.inf, shape, np.float32)


def build(rngs, name, space, **kw):
  return Choice(HEAD, name, **kw)(
    input_size=5, space=space, precision=Precision(), rngs=rngs
  )


def make(name, space, **kw):
  return filled(lambda rngs: build(rngs, name, space, **kw))


def softmax(x):
  x = np.exp(x - x.max(-1, keepdims=True))
  return x / x.sum(-1, keepdims=True)


def logits(layer):
  return X @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])


@pytest.mark.parametrize(
  ('name', 'space', 'shape'),
  [
    ('binary', box(), ()),
    ('binary', box(4), (4,)),
    ('categorical', gs.Discrete(6), ()),
    ('categorical', gs.MultiDiscrete([2, 5, 3]), (3,)),
    ('onehot', box(6), (6,)),
    ('onehot', box(2, 4), (2, 4)),
  ],
  ids=str,
)
def test_one_event_of_the_space(name, space, shape):
  def answers():
    output = build(nnx.Rngs(0), name, space)(X.astype(jnp.bfloat16))
    draw = output.sample(jax.random.key(0))
    return draw, output.pred(), output.logp(draw), output.entropy()

  draw, pred, logp, entropy = jax.eval_shape(answers)
  assert draw.shape == pred.shape == (2, 3, *shape)
  assert logp.shape == entropy.shape == (2, 3)
  assert logp.dtype == entropy.dtype == jnp.float32


def test_binary_probability_is_the_sigmoid_of_its_logit():
  head = make('binary', box())
  expected = 1 / (1 + np.exp(-logits(head.logit)[..., 0]))
  np.testing.assert_allclose(head(X).prob(1), expected, rtol=1e-5)


def test_categorical_mixes_its_probabilities():
  head = make('categorical', gs.Discrete(4), unimix=0.2)
  expected = 0.8 * softmax(logits(head.logits)) + 0.05
  found = np.stack([head(X).prob(i) for i in range(4)], -1)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_dimensions_of_unequal_sizes_have_their_own_logits():
  head = make('categorical', gs.MultiDiscrete([2, 4]))
  assert head.logits.kernel[...].shape == (5, 6)
  first, second = np.split(softmax_parts(logits(head.logits), 2), [2], -1)
  event = np.array([1, 3])
  expected = first[..., 1] * second[..., 3]
  np.testing.assert_allclose(head(X).prob(event), expected, rtol=1e-5)


def softmax_parts(x, bound):
  parts = (softmax(x[..., :bound]), softmax(x[..., bound:]))
  return np.concatenate(parts, -1)


def test_one_dimension_keeps_its_axis():
  head = make('categorical', gs.MultiDiscrete([4]))
  assert head(X).pred().shape == (2, 3, 1)


def test_onehot_agrees_with_categorical():
  onehot = make('onehot', box(4), unimix=0.1)(X)
  index = make('categorical', gs.Discrete(4), unimix=0.1)(X)
  np.testing.assert_array_equal(onehot.entropy(), index.entropy())
  np.testing.assert_array_equal(onehot.pred(), np.eye(4)[index.pred(),])


@pytest.mark.parametrize(
  ('name', 'space', 'message'),
  [
    (
      'categorical',
      box(3),
      'config.head.categorical: needs a discrete space, got Box',
    ),
    (
      'onehot',
      gs.Discrete(3),
      'needs a Box whose last axis is the classes, got',
    ),
    ('onehot', box(), 'needs a Box whose last axis is the classes, got Box'),
  ],
)
def test_another_kind_of_space_is_refused(name, space, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    build(nnx.Rngs(0), name, space)
