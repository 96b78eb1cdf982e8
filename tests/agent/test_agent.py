"""The agent over linear parts: its losses, gradients, carry and slow value."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx import streams
from dreamer_nnx.agent.settings import LossScales
from dreamer_nnx.nn.slow_copy import SlowCopy, SlowParam
from dreamer_nnx.registry import Part
from tests.agent.parts import make_agent, make_batch
from tests.filling import filled

B, T = 4, 4
BATCH = make_batch(B, T)
KEY = jax.random.key(0)
SCALES = LossScales(
  rec=2.0, rew=3.0, con=5.0, dyn=7.0, policy=11.0, repval=13.0
)


def make(**options):
  return filled(functools.partial(make_agent, **options))


def carry_of(agent, batch=B):
  carry = agent.initial(batch)
  return jax.tree.map(lambda x: x + 1, carry)


def compile_loss(agent, update=False):
  """Loss, everything else that it gives, and the statistics after it."""
  graphdef, state = nnx.split(agent)
  arrays = nnx.to_pure_dict(state)

  @jax.jit
  def run(batch):
    agent = nnx.merge(graphdef, arrays)
    loss, aux = agent.loss(carry_of(agent), batch, KEY, length=T, update=update)
    aux = {k: x for k, x in aux.items() if k != 'replayed'}
    return loss, aux, agent.behavior.retnorm.stats()

  return run


@pytest.fixture(scope='module')
def agent():
  return make(scales=SCALES)


@pytest.fixture(scope='module')
def loss(agent):
  return compile_loss(agent)


@pytest.fixture(scope='module')
def answer(loss):
  return loss(BATCH)


def test_initial_carry_is_zeros_of_the_spaces(agent):
  carry = agent.initial(3)
  assert carry.keys() == {'dynamics', 'memory', 'action'}
  assert carry['dynamics']['deter'].shape == (3, 2)
  assert carry['action']['action'].dtype == jnp.int32
  assert not any(x.any() for x in jax.tree.leaves(carry))


def test_total_is_the_weighted_sum_of_mean_losses(answer):
  total, aux, _ = answer
  losses = {name: np.mean(x) for name, x in aux['losses'].items()}
  weights = dict(vector=2, rew=3, con=5, dyn=7, policy=11, value=1, repval=13)
  assert losses.keys() == weights.keys()
  expected = sum(weights[name] * x for name, x in losses.items())
  np.testing.assert_allclose(total, expected, rtol=1e-5)


def test_losses_have_one_number_a_step(answer):
  shapes = {name: x.shape for name, x in answer[1]['losses'].items()}
  assert shapes.pop('repval') == (B, T - 1)
  assert set(shapes.values()) == {(B, T)}


def test_the_signal_model_is_the_model_loss_of_a_step(answer):
  losses = answer[1]['losses']
  weights = dict(vector=2, rew=3, con=5, dyn=7)
  expected = sum(w * losses[name] for name, w in weights.items())
  assert answer[1]['signals'].keys() == {'model'}
  np.testing.assert_allclose(answer[1]['signals']['model'], expected, rtol=1e-5)


def test_carry_holds_the_last_state_and_action(answer):
  _, aux, _ = answer
  deter = aux['carry']['dynamics']['deter']
  np.testing.assert_array_equal(deter, aux['entries']['deter'][:, -1])
  action = aux['carry']['action']['action']
  np.testing.assert_array_equal(action, BATCH['action'][:, -1])
  # What only the losses read is not stored.
  assert aux['entries'].keys() == {'deter'}


def test_metrics_hold_every_loss(answer):
  _, aux, _ = answer
  for name, x in aux['losses'].items():
    np.testing.assert_allclose(
      aux['metrics'][f'loss/{name}'], np.mean(x), rtol=1e-5
    )
  assert {'deter', 'ret', 'adv', 'val', 'rand/action'} <= aux['metrics'].keys()


def test_two_halves_in_turn_are_one_sequence(agent, answer):
  @jax.jit
  def observe(carry, batch):
    _, aux = agent.loss(carry, batch, KEY, length=T // 2, update=False)
    return aux['carry'], aux['entries']['deter']

  halves = [slice(0, T // 2), slice(T // 2, T)]
  cut = [{k: x[:, half] for k, x in BATCH.items()} for half in halves]
  carry, first = observe(carry_of(agent), cut[0])
  _, second = observe(carry, cut[1])
  found = np.concatenate([first, second], 1)
  np.testing.assert_allclose(found, answer[1]['entries']['deter'], atol=1e-6)


def test_only_the_last_states_are_imagined_from():
  _, aux, _ = jax.eval_shape(compile_loss(make(imag_last=2)), BATCH)
  shapes = {name: x.shape for name, x in aux['losses'].items()}
  assert shapes['policy'] == shapes['value'] == (B, 2)
  assert shapes['repval'] == (B, 1)
  assert shapes['rew'] == (B, T)


def test_replayed_values_can_be_left_out():
  shapes = jax.eval_shape(compile_loss(make(repval_loss=False)), BATCH)
  assert 'repval' not in shapes[1]['losses']


def test_a_single_state_has_no_replayed_value():
  total, aux, _ = compile_loss(make(imag_last=1))(BATCH)
  assert 'repval' not in aux['losses'] and 'loss/repval' not in aux['metrics']
  assert np.isfinite(total)


def test_normalisers_learn_only_with_update(agent, answer):
  before = agent.behavior.retnorm.stats()
  _, aux, after = compile_loss(agent, update=True)(BATCH)
  assert after[0] != before[0]
  np.testing.assert_array_equal(answer[2], before)
  # The losses of the behaviour use what was learnt, the others do not.
  assert aux['metrics']['ret'] != answer[1]['metrics']['ret']
  found, expected = (x['losses']['rew'] for x in (aux, answer[1]))
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def reach(**options):
  """Which module's parameters each loss trains."""
  agent = make(**options)
  graphdef, params, rest = nnx.split(agent, nnx.Param, ...)

  @jax.jit
  def slopes(params):
    def losses(params):
      agent = nnx.merge(graphdef, params, rest)
      _, aux = agent.loss(carry_of(agent), BATCH, KEY, length=T, update=False)
      return {name: x.sum() for name, x in aux['losses'].items()}

    return jax.jacrev(losses)(params)

  found = {}
  for name, tree in slopes(params).items():
    flat = nnx.to_flat_state(tree)
    found[name] = {
      '/'.join(path[: 1 + (path[0] == 'behavior')])
      for path, x in flat
      if np.any(np.asarray(x[...]))
    }
  return found


MODEL = {'encoder', 'dynamics'}


def test_actor_and_critic_leave_the_world_model_alone():
  assert reach(reward_grad=False, repval_grad=False, ac_grads=False) == {
    'vector': MODEL | {'decoder'},
    'dyn': MODEL,
    'con': MODEL | {'cont'},
    'rew': {'reward'},
    'policy': {'behavior/policy'},
    'value': {'behavior/value'},
    'repval': {'behavior/value'},
  }


def test_actor_and_critic_train_the_world_model_if_asked():
  assert reach(reward_grad=True, repval_grad=True, ac_grads=True) == {
    'vector': MODEL | {'decoder'},
    'dyn': MODEL,
    'con': MODEL | {'cont'},
    'rew': MODEL | {'reward'},
    'policy': MODEL | {'behavior/policy'},
    'value': MODEL | {'behavior/value'},
    'repval': MODEL | {'behavior/value'},
  }


@pytest.fixture(scope='module')
def act(agent):
  def run(carry, obs, key, mode):
    return agent.act(carry, obs, key, mode)

  return jax.jit(run, static_argnames='mode')


OBS = {k: BATCH[k][:, 0] for k in ('vector', 'is_first')} | {
  'is_first': np.array([True, False, False, True])
}


def test_acting_is_one_step_of_the_dynamics_and_the_policy(agent, act):
  carry = carry_of(agent)
  new, action, kept = act(carry, OBS, KEY, 'mode')
  expected, _ = agent.dynamics.step(
    carry['dynamics'],
    agent.encoder(OBS),
    carry['action'],
    OBS['is_first'],
    KEY,
  )
  assert kept.keys() == {'latent/deter'}
  feat = {'deter': kept['latent/deter']}
  np.testing.assert_allclose(feat['deter'], expected['deter'], atol=1e-6)
  joint = agent.behavior.policy(feat, given={}, mask={})
  greedy = np.argmax(joint.outputs['action'].logits, -1)
  np.testing.assert_array_equal(action['action'], greedy)
  after = {'dynamics': feat, 'memory': {}, 'action': action}
  assert jax.tree.all(jax.tree.map(np.array_equal, new, after))


def test_first_steps_forget_the_carry(agent, act):
  _, _, one = act(carry_of(agent), OBS, KEY, 'mode')
  _, _, two = act(agent.initial(B), OBS, KEY, 'mode')
  same = (one['latent/deter'] == two['latent/deter']).all(-1)
  np.testing.assert_array_equal(same, OBS['is_first'])


def test_sampled_actions_have_the_probabilities_of_the_policy(agent, act):
  count = 4000
  obs = {k: np.repeat(x[:1], count, 0) for k, x in OBS.items()}
  carry = agent.initial(count)
  _, action, kept = act(carry, obs, KEY, 'sample')
  found = np.eye(3)[action['action'],].mean(0)
  feat = {'deter': kept['latent/deter'][:1]}
  joint = agent.behavior.policy(feat, given={}, mask={})
  probs = jax.nn.softmax(joint.outputs['action'].logits[0])
  # Five standard deviations of a frequency.
  np.testing.assert_allclose(found, probs, atol=5 * 0.5 / count**0.5)


def test_unknown_mode_is_refused(agent):
  message = "mode = 'greedy': must be 'sample' or 'mode'."
  with pytest.raises(ValueError, match=re.escape(message)):
    agent.act(agent.initial(B), OBS, KEY, 'greedy')


def slow(agent):
  return np.asarray(agent.behavior.slow_value.module.kernel[...])


@pytest.mark.parametrize('every', [1, 3])
def test_slow_value_follows_at_its_rate(every):
  agent = make(slow=Part(SlowCopy, rate=0.25, every=every))
  value = agent.behavior.value
  before, target = slow(agent), np.asarray(value.kernel[...])
  assert (before != target).all()
  for update in range(4):
    agent.after_update(jnp.asarray(update))
    moved = 0.25 * target + 0.75 * before
    expected = moved if update % every == 0 else before
    np.testing.assert_allclose(slow(agent), expected, rtol=1e-6)
    before = slow(agent)


def test_slow_value_is_a_copy_at_a_rate_of_one():
  agent = make(slow=Part(SlowCopy, rate=1.0))
  agent.after_update(jnp.asarray(0))
  behavior = agent.behavior
  np.testing.assert_array_equal(slow(agent), behavior.value.kernel[...])
  assert isinstance(behavior.slow_value.module.kernel, SlowParam)


def test_report_has_the_metrics_of_the_loss_and_learns_nothing(agent):
  def loss(key):
    _, aux = agent.loss(carry_of(agent), BATCH, key, length=T, update=False)
    return aux['metrics']

  # Another key draws the videos.
  expected = jax.jit(loss)(streams.at(KEY, 'loss'))
  # A statistic that changed within would be refused by the compiler.
  report = jax.jit(functools.partial(agent.report, length=T))
  metrics, videos = report(carry_of(agent), BATCH, KEY)
  assert videos == {}
  assert metrics.keys() == expected.keys()
  for name, x in expected.items():
    np.testing.assert_allclose(metrics[name], x, rtol=1e-5, err_msg=name)


def test_order_of_rows_changes_no_model_loss(loss, answer):
  order = np.array([2, 0, 3, 1])
  batch = {k: x[order] for k, x in BATCH.items()}
  _, aux, _ = loss(batch)
  for name in ('vector', 'rew', 'con', 'dyn'):
    np.testing.assert_allclose(
      aux['losses'][name], answer[1]['losses'][name][order], rtol=1e-5
    )
