"""The compiled learner: what an update changes, and what it must not."""

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx.nn.slow_copy import SlowCopy
from dreamer_nnx.registry import Choice, Part
from dreamer_nnx.slots import OPTIMIZER
from dreamer_nnx.training import loss_scale, sharding
from dreamer_nnx.training.norms import Squares, optimizer_metrics
from dreamer_nnx.training.step import Learner
from tests.agent.parts import Encoder, make_agent, make_batch

B, T = 4, 3
UPDATES = 3
BATCHES = [make_batch(B, T, seed=i) for i in range(UPDATES)]


class CountedEncoder(Encoder):
  """Keeps the shapes that it is traced with, once for every compilation."""

  traces: ClassVar[list] = []

  def __call__(self, obs):
    self.traces.append(obs['vector'].shape)
    return super().__call__(obs)


def make_learner(**kw):
  return Learner(
    functools.partial(
      make_agent, encoder=CountedEncoder, slow=Part(SlowCopy, every=2)
    ),
    Choice(OPTIMIZER, 'dreamer', lr=0.01, warmup=2)(),
    sharding.make_sharding(devices=jax.devices()[:1]),
    batch_length=T,
    **kw,
  )


@pytest.fixture(scope='module')
def learner():
  return make_learner()


def train(learner, seed=0, batches=BATCHES):
  """States, on the host, from the initial to the last; and what came along."""
  state, carry = learner.init(seed), learner.initial(B)
  states, rest = [jax.device_get(state)], []
  for batch in batches:
    state, carry, back, metrics = learner.train_step(state, carry, batch)
    states.append(jax.device_get(state))
    rest.append(jax.device_get((carry, back, metrics)))
  return states, rest


@pytest.fixture(scope='module')
def run(learner):
  CountedEncoder.traces.clear()
  found = train(learner)
  return *found, tuple(CountedEncoder.traces)


TRAINED = {
  'encoder/kernel',
  'dynamics/recur',
  'dynamics/react',
  'decoder/kernel',
  'reward/kernel',
  'cont/kernel',
  'behavior/policy/kernel',
  'behavior/value/kernel',
}


def test_state_has_a_name_for_every_array(learner):
  moments = {f'optimizer/1/nu/{k}' for k in TRAINED}
  moments |= {f'optimizer/2/mu/{k}' for k in TRAINED}
  assert learner.abstract.keys() == TRAINED | moments | {
    'behavior/slow_value/module/kernel',
    'behavior/retnorm/averages/values',
    'optimizer/1/count',
    'optimizer/2/count',
    'optimizer/4/count',
    'updates',
    'diverged',
    'key',
  }
  assert set(learner.layout.trained) == TRAINED


def test_names_shapes_and_formats_stay(learner, run):
  describe = lambda state: {k: (x.shape, x.dtype) for k, x in state.items()}
  expected = describe(learner.abstract)
  for state in run[0]:
    assert describe(state) == expected


def test_first_update_of_the_warmup_changes_no_parameter(run):
  first, second, third, _ = run[0]
  for name in TRAINED:
    np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert (second[name] != third[name]).all(), name
  assert second['optimizer/1/nu/encoder/kernel'].all()


def test_counters_count(run):
  states, rest, _ = run
  names = ('updates', 'optimizer/1/count', 'optimizer/4/count')
  for name in names:
    assert [int(state[name]) for state in states] == [0, 1, 2, 3]
  assert [int(x[2]['opt/updates']) for x in rest] == [1, 2, 3]


def test_the_learning_rate_is_that_of_the_update(run):
  _, rest, _ = run
  rates = [float(x[2]['opt/lr']) for x in rest]
  np.testing.assert_allclose(rates, [0, 0.005, 0.01], rtol=1e-6)


def test_slow_value_starts_as_a_copy_and_follows_the_new_value(run):
  states, _, _ = run
  value, slow = (
    np.stack([state[f'behavior/{name}/kernel'] for state in states])
    for name in ('value', 'slow_value/module')
  )
  np.testing.assert_array_equal(slow[0], value[0])
  # Every second update: the first one, of rate 0, and the third.
  np.testing.assert_allclose(slow[1], value[1], rtol=1e-6)
  np.testing.assert_array_equal(slow[2], slow[1])
  expected = 0.02 * value[3] + 0.98 * slow[2]
  np.testing.assert_allclose(slow[3], expected, rtol=1e-6)
  assert (value[2] != value[1]).all() and (slow[3] != slow[2]).all()


def test_normalisers_learn(run):
  values = [state['behavior/retnorm/averages/values'] for state in run[0]]
  assert not values[0].any() and (values[1] != values[2]).all()


def same(one, two):
  """Whether two trees are equal to the last bit, keys of random numbers too."""
  raw = lambda x: jax.random.key_data(x) if 'key' in str(x.dtype) else x
  equal = lambda x, y: np.array_equal(raw(x), raw(y))
  return jax.tree.all(jax.tree.map(equal, one, two))


def test_two_runs_are_equal_to_the_last_bit(learner, run):
  assert same(run[:2], train(learner))


def test_another_seed_has_other_parameters(learner):
  one, two = learner.init(0), learner.init(1)
  for name in TRAINED:
    assert (one[name] != two[name]).all(), name


def test_all_updates_are_compiled_once(run):
  assert run[2] == ((B, T, 3),)


def act(learner, state, steps, mode='sample'):
  """Actions of some steps with the same observations."""
  carry, actions = learner.initial(B), []
  obs = {k: BATCHES[0][k][:, 0] for k in ('vector', 'is_first')}
  for i in range(steps):
    carry, action, kept = learner.policy(
      learner.acting(state), carry, obs, jax.random.key(0), i, mode
    )
    actions.append(np.asarray(action['action']))
  return np.stack(actions), kept


def test_the_acting_part_is_enough_to_act(learner):
  state = learner.init(0)
  acting = {'encoder/kernel', 'dynamics/recur', 'dynamics/react'}
  assert learner.acting(state).keys() == acting | {'behavior/policy/kernel'}
  arrays = {name: state[name] for name in learner.layout.shapes}
  agent = learner.layout.merge(arrays)
  obs = {k: BATCHES[0][k][:, 0] for k in ('vector', 'is_first')}
  _, action, kept = agent.act(agent.initial(B), obs, jax.random.key(0), 'mode')
  found, entry = act(learner, state, 1, 'mode')
  np.testing.assert_array_equal(found[0], action['action'])
  assert entry.keys() == kept.keys() == {'latent/deter'}
  np.testing.assert_allclose(
    entry['latent/deter'], kept['latent/deter'], atol=1e-6
  )


def test_all_steps_are_compiled_once():
  learner = make_learner()
  state = learner.init(0)
  CountedEncoder.traces.clear()
  act(learner, state, 4)
  # Each mode is traced on one row to find out what acting reads.
  assert CountedEncoder.traces == [(1, 3), (1, 3), (B, 3)]


def test_what_goes_back_to_replay(run):
  for carry, back, _ in run[1]:
    assert back.keys() == {'latent/deter', 'signal/model'}
    assert back['latent/deter'].shape == (B, T, 2)
    assert back['signal/model'].shape == (B, T)
    last = back['latent/deter'][:, -1]
    np.testing.assert_array_equal(carry['dynamics']['deter'], last)


def test_a_state_is_consumed_by_its_update(learner):
  state = learner.init(0)
  learner.train_step(state, learner.initial(B), BATCHES[0])
  assert all(x.is_deleted() for k, x in state.items() if k in TRAINED)


def test_a_report_leaves_the_state_alone(learner):
  state = learner.init(0)
  before = jax.device_get(state)
  metrics, videos = learner.report(
    state, learner.initial(B), BATCHES[0], jax.random.key(0)
  )
  assert np.isfinite(metrics['loss/vector']) and videos == {}
  assert same(before, state)


def test_flattened_agents_are_merged_again(learner):
  agent = make_agent(nnx.Rngs(0))
  arrays = learner.layout.flatten(agent)
  again = learner.layout.flatten(learner.layout.merge(arrays))
  assert same(arrays, again)


@pytest.mark.parametrize('change', ['missing', 'left over'])
def test_other_names_are_not_merged(learner, change):
  arrays = learner.layout.flatten(make_agent(nnx.Rngs(0)))
  if change == 'missing':
    del arrays['cont/kernel']
  else:
    arrays['cont/kernel2'] = arrays['cont/kernel']
  with pytest.raises(KeyError, match='cont/kernel'):
    learner.layout.merge(arrays)


@pytest.fixture(scope='module')
def scaled():
  """States under loss scaling; the last update has an infinite loss."""
  # The square of the largest number is beyond float32.
  vector = np.where(np.arange(3) == 1, 1e25, BATCHES[0]['vector'])
  batch = BATCHES[0] | {'vector': vector.astype(np.float32)}
  return train(make_learner(loss_scaling=True), batches=[*BATCHES, batch])


def test_scaling_the_loss_changes_no_gradient(scaled, run):
  states = scaled[0][:-1]
  assert [float(s['loss_scale']) for s in states] == [1e4] * 4
  assert [int(s['good_steps']) for s in states] == [0, 1, 2, 3]
  for name in TRAINED:
    # The scale is no power of two, so the gradients are rounded elsewhere.
    np.testing.assert_allclose(
      states[-1][name], run[0][-1][name], rtol=1e-3, atol=1e-5
    )


def test_the_learning_rate_is_told_beneath_the_scaling(scaled):
  rates = [float(x[2]['opt/lr']) for x in scaled[1]]
  np.testing.assert_allclose(rates, [0, 0.005, 0.01, 0.01], rtol=1e-6)


def test_an_overflow_changes_the_scale_alone(scaled):
  states, rest = scaled
  assert not np.isfinite(rest[-1][2]['opt/loss'])
  for name in TRAINED:
    before, after = (state[name] for state in states[-2:])
    np.testing.assert_array_equal(before, after, err_msg=name)
  assert float(states[-1]['loss_scale']) == 5e3
  assert int(states[-1]['good_steps']) == 0


@pytest.mark.parametrize(
  ('gradient', 'scale', 'good', 'expected'),
  [
    (1.0, 4.0, 5, (4, 6)),
    (np.inf, 4.0, 5, (2, 0)),
    (np.nan, 4.0, 5, (2, 0)),
    (1.0, 4.0, 1000, (8, 0)),
    (1.0, 9e4, 1000, (1e5, 0)),
    (np.inf, 1e-4, 0, (1e-4, 0)),
  ],
)
def test_scale_halves_after_an_overflow_and_doubles_in_time(
  gradient, scale, good, expected
):
  state = {'loss_scale': jnp.asarray(scale), 'good_steps': jnp.asarray(good)}
  new = loss_scale.next_scale(state, jnp.isfinite(gradient))
  found = float(new['loss_scale']), int(new['good_steps'])
  assert found == pytest.approx(expected)


def test_sizes_of_an_update_by_hand():
  trees = ([6, 8], [0, 0.5], [1, 7])
  grads, changes, params = (
    Squares({'a': np.float32(x[:1]), 'b': np.float32(x[1:])}) for x in trees
  )
  found = optimizer_metrics(2.5, 7, grads, changes, params)
  assert {k: float(v) for k, v in found.items()} == pytest.approx(
    {
      'opt/loss': 2.5,
      'opt/updates': 7,
      'opt/grad_norm': 10,
      'opt/grad_rms': 50**0.5,
      'opt/update_rms': 0.125**0.5,
      'opt/param_rms': 5,
      'opt/param_count': 2,
    }
  )
