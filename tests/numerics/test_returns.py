"""λ-returns: equal to the recursion written out."""

import functools

import jax
import numpy as np
import pytest

from dreamer_nnx.numerics.returns import lambda_return


@functools.partial(jax.jit, static_argnames=('disc', 'lam'))
def returns(reward, term, last, boot, disc=0.9, lam=0.8):
  return lambda_return(reward, term, last, boot, disc=disc, lam=lam)


@pytest.fixture
def steps():
  rng = np.random.default_rng(0)
  reward, boot = rng.normal(2, 1, (2, 4, 7)).astype(np.float32)
  term = rng.uniform(0.1, 0.9, (4, 7)).astype(np.float32)
  last = rng.random((4, 7)) < 0.3
  assert last.any() and not last.all()
  return reward, term, last.astype(np.float32), boot


def test_two_steps_by_hand():
  reward = np.float32([[99, 1, 2]])
  boot = np.float32([[99, 20, 30]])
  none = np.zeros((1, 3), np.float32)
  # R₁ = 2 + ½ · 30;  R₀ = 1 + ½ (½ · 20 + ½ R₁)
  found = returns(reward, none, none, boot, disc=0.5, lam=0.5)
  np.testing.assert_array_equal(found, [[10.25, 17]])


def test_equal_to_a_loop_over_time(steps):
  reward, term, last, boot = steps
  expected, after = np.zeros((4, 6)), boot[:, -1].astype(np.float64)
  for t in reversed(range(6)):
    disc = 0.9 * (1.0 - term[:, t + 1])
    lam = 0.8 * (1.0 - last[:, t + 1])
    mixed = (1 - lam) * boot[:, t + 1] + lam * after
    expected[:, t] = after = reward[:, t + 1] + disc * mixed
  np.testing.assert_allclose(returns(*steps), expected, rtol=1e-5)


def test_without_lambda_it_is_one_step_ahead(steps):
  reward, term, _, boot = steps
  expected = (reward + 0.9 * (1 - term) * boot)[:, 1:]
  np.testing.assert_allclose(returns(*steps, lam=0.0), expected, rtol=1e-5)


def test_with_all_of_lambda_only_the_last_value_counts(steps):
  reward, term, _, boot = steps
  none = np.zeros_like(term)
  other = boot.copy()
  other[:, :-1] = 77
  found = returns(reward, term, none, boot, lam=1.0)
  np.testing.assert_array_equal(
    found, returns(reward, term, none, other, lam=1.0)
  )


def test_nothing_after_a_terminal_state_counts(steps):
  reward, term, last, boot = steps
  term = np.zeros_like(term)
  term[:, 3] = 1
  reward2, boot2 = reward.copy(), boot.copy()
  reward2[:, 4:], boot2[:, 3:] = 55, 66
  found = returns(reward, term, last, boot)
  changed = returns(reward2, term, last, boot2)
  np.testing.assert_array_equal(found[:, :3], changed[:, :3])
  assert (found[:, 3:] != changed[:, 3:]).all()


def test_a_cut_trajectory_goes_on_as_its_value(steps):
  reward, term, last, boot = steps
  last = np.zeros_like(last)
  last[:, 3] = 1
  expected = reward[:, 3] + 0.9 * (1 - term[:, 3]) * boot[:, 3]
  found = returns(reward, term, last, boot)
  np.testing.assert_allclose(found[:, 2], expected, rtol=1e-5)


def test_first_entries_are_unused(steps):
  changed = [x.copy() for x in steps]
  for x in changed:
    x[:, 0] = 0.5
  np.testing.assert_array_equal(returns(*steps), returns(*changed))


def test_order_of_rows_does_not_matter(steps):
  order = [2, 0, 3, 1]
  found = returns(*(x[order] for x in steps))
  np.testing.assert_array_equal(found, returns(*steps)[order,])


def test_flags_may_be_bool(steps):
  reward, _, last, boot = steps
  term = np.roll(last, 1, 0)
  found = returns(reward, term.astype(bool), last.astype(bool), boot)
  np.testing.assert_array_equal(found, returns(reward, term, last, boot))


def test_arrays_of_other_ranks_and_shapes_are_refused(steps):
  reward, term, last, boot = steps
  with pytest.raises(AssertionError, match='rank'):
    returns(reward[0], term[0], last[0], boot[0])
  with pytest.raises(AssertionError, match='shape'):
    returns(reward, term[:1], last, boot)
