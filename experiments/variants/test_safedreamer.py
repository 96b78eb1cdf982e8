"""SafeDreamer's Lagrangian: what the cost reaches, and the multiplier."""

import jax
import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx import workflow
from experiments.variants import toys
from experiments.variants.toys import Toy, after_five, compiled, differing

COST = 'label/cost'
OBS = toys.OBS | {COST: gs.Box(0, np.inf, (), np.float32)}
LIMIT, RATE = 2.0, 0.05
FIELD = 'behavior.constrained.limit'
MULTIPLIER = 'behavior/multiplier'


@pytest.fixture(scope='module')
def toy():
  heads = {
    f'behavior.constrained.{part}.head.name': 'mse'
    for part in ('cost', 'cost_value')
  }
  limits = {FIELD: LIMIT, 'behavior.constrained.rate': RATE}
  return Toy('safedreamer', heads | limits, OBS)


@pytest.fixture(scope='module')
def unlimited():
  return Toy('safedreamer', {FIELD: float('inf')}, OBS)


def permuted(batch):
  order = np.random.default_rng(0).permutation(batch[COST].size)
  return batch | {COST: batch[COST].ravel()[order].reshape(batch[COST].shape)}


def test_cost_changes_no_action_and_no_token(toy):
  # Of many rows, so that actions tell.
  batch = toy.batch(0)
  many = lambda x: np.repeat(x[:, 0], 50, 0)
  state, seed = toy.init() | {MULTIPLIER: np.float32(3)}, jax.random.key(0)
  act = compiled(toy.pure.act, static_argnames='mode')

  def acted(batch, mode):
    obs = {k: many(batch[k]) for k in (*OBS, 'is_first')}
    carry = toy.pure.initial(len(obs['is_first']))
    return act(state, carry, obs, seed, 0, mode=mode)

  @compiled
  def seen(state, batch):
    _, aux = toy.loss(toy.agent(state), batch)
    return aux['replayed'].tokens, aux['replayed'].observed.feat

  other = permuted(batch)
  assert (other[COST] != batch[COST]).any()
  for mode in ('sample', 'mode'):
    jax.tree.map(
      np.testing.assert_array_equal, acted(batch, mode), acted(other, mode)
    )
  jax.tree.map(
    np.testing.assert_array_equal, seen(state, batch), seen(state, other)
  )


def test_an_infinite_limit_equals_the_baseline(unlimited):
  without = Toy('safedreamer', {'behavior.name': 'actor_critic'}, OBS)
  start = without.init()
  constrained = after_five(unlimited, unlimited.init() | start)
  assert start.keys() < constrained.keys()
  assert not differing(after_five(without, start), constrained)
  assert constrained[MULTIPLIER] == 0


def test_without_a_limit_the_cost_reaches_its_own_predictors_alone(unlimited):
  shape = toys.ROWS, toys.STEPS + 1
  found = differing(
    *(
      after_five(unlimited, **{COST: np.full(shape, x, np.float32)})
      for x in (0, 5)
    )
  )
  found = {name for name in found if not name.startswith('optimizer/')}
  assert found and all(name.startswith('behavior/cost') for name in found)


@pytest.fixture(scope='module')
def run(toy):
  """States, and expected costs, of updates on steps that cost 1, then 0."""
  shape = toys.ROWS, toys.STEPS + 1
  state, carry = toy.init(), toy.pure.initial(toy.rows)
  states, expected = [state], []
  for seed in range(100):
    cost = np.full(shape, seed < 50, np.float32)
    batch = toy.batch(seed, **{COST: cost})
    state, carry, _, metrics = toy.update(state, carry, batch)
    states.append(state)
    expected.append(float(metrics['cost/expected']))
  return states, np.array(expected), carry


def test_the_multiplier_rises_above_the_limit_only(run):
  states, expected, _ = run
  found = np.array([float(state[MULTIPLIER]) for state in states])
  above, change = expected > LIMIT, np.diff(found)
  # At first nothing is known to cost anything, and in the end nothing does.
  assert not found[0] and not above[0] and above[40:50].all()
  assert not above[-10:].any() and found[-1] > 0
  assert (change[above] > 0).all() and (change[-10:] < 0).all()
  assert (change[~above] <= 0).all()
  moved = np.clip(found[:-1] + RATE * (expected - LIMIT), 0, 1000)
  np.testing.assert_allclose(found[1:], moved, rtol=1e-5, atol=1e-6)


def test_the_multiplier_survives_a_resume_exactly(toy, run, tmp_path):
  states, _, carry = run
  state, batch = states[-1], toy.batch(100)
  checkpoints = workflow.make_checkpoints(toy.config, tmp_path)
  with checkpoints:
    assert checkpoints.save(1, state, {}, {'updates': 60})
    checkpoints.wait()
    restored = checkpoints.restore(toy.learner.abstract).state
  assert restored[MULTIPLIER] == state[MULTIPLIER] > 0
  went_on = toy.update(state, carry, batch)[0]
  resumed = toy.update(restored, carry, batch)[0]
  assert resumed[MULTIPLIER] == went_on[MULTIPLIER] != state[MULTIPLIER]
  assert not differing(resumed, went_on, atol=0)
