"""One distribution over all action keys, of independent parts."""

import jax
import numpy as np

from dreamer_nnx.acting.joint import Independent
from dreamer_nnx.numerics import outputs

RNG = np.random.default_rng(0)
LOGITS = {
  'a': RNG.normal(size=(4, 3)).astype(np.float32),
  'b': RNG.normal(size=(4, 2)).astype(np.float32),
}
JOINT = Independent({k: outputs.Categorical(x) for k, x in LOGITS.items()})


def test_log_probability_is_that_of_the_product():
  action = {'a': np.array([0, 1, 2, 0]), 'b': np.array([1, 0, 1, 0])}
  log = {
    k: x - np.log(np.exp(x).sum(-1, keepdims=True)) for k, x in LOGITS.items()
  }
  rows = np.arange(4)
  expected = log['a'][rows, action['a']] + log['b'][rows, action['b']]
  np.testing.assert_allclose(JOINT.logp(action), expected, rtol=1e-5)


def test_the_most_likely_action_is_that_of_every_key():
  for name, x in JOINT.pred().items():
    np.testing.assert_array_equal(x, LOGITS[name].argmax(-1))


def test_entropies_and_their_ranges_are_by_key():
  entropy, bounds = JOINT.entropy(), JOINT.entropy_range()
  for name, x in LOGITS.items():
    output = outputs.Categorical(x)
    np.testing.assert_array_equal(entropy[name], output.entropy())
    assert [y[0] for y in bounds[name]] == [0, np.float32(np.log(x.shape[-1]))]


def test_keys_without_a_range_are_left_out_of_the_ranges():
  normal = outputs.Independent(
    outputs.Normal(np.zeros((4, 2)), np.ones((4, 2))), 1
  )
  joint = Independent(dict(JOINT.outputs) | {'c': normal})
  assert joint.entropy_range().keys() == {'a', 'b'}
  assert joint.entropy().keys() == {'a', 'b', 'c'}


def test_actions_are_drawn_apart():
  same = outputs.Categorical(np.zeros((1000, 2), np.float32))
  draw = jax.jit(Independent({'a': same, 'b': same}).sample)
  action = draw(jax.random.key(0))
  equal = (np.asarray(action['a']) == np.asarray(action['b'])).mean()
  # Five standard deviations of a frequency.
  assert abs(equal - 0.5) < 5 * 0.5 / 1000**0.5
