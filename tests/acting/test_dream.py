"""Rolling a world model out: by a policy, or along given actions."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.acting.dream import dream, imagine, open_loop, starting
from dreamer_nnx.acting.options import AgentOptions
from dreamer_nnx.contracts import Replayed
from tests.agent.parts import MASK, make_agent, make_batch
from tests.filling import filled
from tests.parity import deterministic

RNG = np.random.default_rng(0)
N, H = 4, 3
STARTS = {'deter': RNG.normal(size=(N, 2)).astype(np.float32)}
KEY = jax.random.key(0)


@pytest.fixture(scope='module')
def agent():
  return filled(make_agent)


def roll(agent, carry=None, length=H, key=KEY):
  """A dream by the policy; its features, the first one in front; actions."""
  carry = carry or STARTS

  def act(feat, memory, key):
    joint = agent.behavior.policy(feat, given={}, mask={})
    return joint.sample(key), memory, {}

  feat, action, _ = dream(agent.dynamics, carry, carry, act, {}, length, key)
  whole = jnp.concatenate([carry['deter'][:, None], feat['deter']], 1)
  return whole, action


def test_a_dream_has_one_action_for_every_state(agent):
  with deterministic():
    states, action = jax.jit(functools.partial(roll, agent))()
  assert states.shape == (N, H + 1, 2)
  joint = agent.behavior.policy({'deter': states}, given={}, mask={})
  np.testing.assert_array_equal(action['action'], joint.pred()['action'])
  along = {'action': action['action'][:, :-1]}
  feat = open_loop(agent.dynamics, STARTS, along, KEY)
  np.testing.assert_allclose(states[:, 1:], feat['deter'], atol=1e-6)


def test_open_loop_is_predict_after_predict(agent):
  action = {'action': RNG.integers(0, 3, (N, H)).astype(np.int32)}
  feat = open_loop(agent.dynamics, STARTS, action, KEY)
  carry = STARTS
  for t in range(H):
    now = {'action': action['action'][:, t]}
    carry, expected = agent.dynamics.predict(carry, now, KEY)
    np.testing.assert_allclose(
      feat['deter'][:, t], expected['deter'], atol=1e-6
    )


def test_memory_is_handed_from_state_to_state(agent):
  def act(feat, memory, key):
    return {'action': memory % 3}, memory + 1, {}

  memory = jnp.arange(N)
  _, action, _ = dream(agent.dynamics, STARTS, STARTS, act, memory, H, KEY)
  expected = (np.arange(N)[:, None] + np.arange(H + 1)) % 3
  np.testing.assert_array_equal(action['action'], expected)


def test_every_state_draws_with_a_key_of_its_own(agent):
  def act(feat, memory, key):
    drawn = jax.random.randint(key, (N,), 0, 2**30)
    return {'action': drawn}, memory, {}

  _, action, _ = dream(agent.dynamics, STARTS, STARTS, act, {}, H, KEY)
  assert len(np.unique(action['action'])) == N * (H + 1)


B, T = 3, 4
BATCH = make_batch(B, T) | {
  'mask/action': np.float32(RNG.random((B, T, 3)) < 0.5),
  'label/cost': RNG.normal(size=(B, T)).astype(np.float32),
}


def replayed_of(agent, deter=None, steps=BATCH):
  """A batch as if observed, of random features."""
  if deter is None:
    deter = RNG.normal(size=(B, T, 2)).astype(np.float32)
  feat = {'deter': jnp.asarray(deter)}
  _, observed = jax.eval_shape(
    agent.dynamics.observe,
    agent.dynamics.initial(B),
    jnp.zeros((B, T, 2)),
    {'action': jnp.asarray(steps['action'])},
    jnp.asarray(steps['is_first']),
    KEY,
  )
  observed = dataclasses.replace(observed, feat=feat, entry=feat, extra={})
  action = {'action': steps['action']}
  carry = agent.dynamics.initial(B)
  return Replayed(agent.world, steps, {}, action, action, None, observed, carry)


PLAIN = {k: x for k, x in BATCH.items() if '/' not in k}


def imagined(
  agent, steps=PLAIN, deter=None, given=None, policy=None, **options
):
  options = AgentOptions(horizon=10, imag_length=H, **options)
  replayed = replayed_of(agent, deter, steps)
  policy = policy or agent.behavior.policy
  return imagine(replayed, policy, options, KEY, given), replayed


def test_dreams_start_at_the_last_steps_of_each_sequence_in_turn(agent):
  found, replayed = imagined(agent, imag_last=2)
  deter = replayed.observed.feat['deter']
  expected = np.asarray(deter[:, -2:]).reshape(B * 2, 2)
  np.testing.assert_array_equal(found.feat['deter'][:, 0], expected)
  assert found.feat['deter'].shape == (B * 2, H + 1, 2)
  assert found.action['action'].shape == found.reward.shape == (B * 2, H + 1)
  along = {'action': found.action['action'][:, :-1]}
  feat = open_loop(agent.dynamics, {'deter': expected}, along, KEY)
  np.testing.assert_allclose(
    found.feat['deter'][:, 1:], feat['deter'], atol=1e-6
  )


@pytest.mark.parametrize(('last', 'count'), [(0, T), (2, 2), (99, T)])
def test_all_steps_are_starts_unless_fewer_are_asked_for(agent, last, count):
  replayed = replayed_of(agent)
  assert starting(replayed, AgentOptions(imag_last=last)) == count


@pytest.mark.parametrize('contdisc', [True, False])
def test_heads_and_weights_of_a_dream(agent, contdisc):
  found, _ = imagined(agent, contdisc=contdisc)
  reward = agent.reward(found.feat).pred()
  cont = agent.cont(found.feat).prob(1)
  np.testing.assert_allclose(found.reward, reward, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(found.cont, cont, rtol=1e-5)
  disc = 1 if contdisc else 0.9
  weight = np.cumprod(disc * np.asarray(cont), 1) / disc
  np.testing.assert_allclose(found.weight, weight, rtol=1e-5)


@pytest.mark.parametrize('ac_grads', [True, False])
def test_the_first_features_alone_have_gradients_if_asked(agent, ac_grads):
  def totals(deter):
    found, _ = imagined(agent, deter=deter, ac_grads=ac_grads)
    deter = found.feat['deter']
    rest = found.reward.sum() + found.cont.sum() + found.weight.sum()
    return {
      'first': deter[:, 0].sum(),
      'later': deter[:, 1:].sum(),
      'rest': rest,
    }

  deter = RNG.normal(size=(B, T, 2)).astype(np.float32)
  slopes = jax.jit(jax.jacrev(totals))(deter)
  np.testing.assert_array_equal(slopes['first'], ac_grads * np.ones((B, T, 2)))
  for name in ('later', 'rest'):
    np.testing.assert_array_equal(slopes[name], np.zeros((B, T, 2)))


def test_labels_of_the_start_and_what_is_given_stay_through_a_dream(agent):
  seen = []

  def policy(feat, *, given, mask):
    seen.append(jax.tree.map(jnp.shape, given))
    return agent.behavior.policy(feat, given=given, mask=mask)

  steps = PLAIN | {'label/cost': BATCH['label/cost']}
  goal = np.ones((B * 2, 5), np.float32)
  found, _ = imagined(
    agent,
    steps,
    given={'goal': goal},
    policy=jax.tree_util.Partial(policy),
    imag_last=2,
  )
  assert found.given.keys() == {'label/cost', 'goal'}
  expected = BATCH['label/cost'][:, -2:].reshape(-1)
  np.testing.assert_array_equal(found.given['label/cost'], expected)
  assert seen[0] == {'label/cost': (B * 2,), 'goal': (B * 2, 5)}


class LastAllowed:
  """An objective that predicts that the last class alone is allowed."""

  def mask(self, world, feat):
    shape = feat['deter'].shape[:-1]
    return {'action': jnp.broadcast_to(jnp.arange(3) == 2, (*shape, 3))}


@pytest.fixture(scope='module')
def masking():
  return filled(functools.partial(make_agent, further=MASK))


@pytest.mark.parametrize('predicted', [True, False])
def test_the_true_mask_comes_first_and_predicted_ones_after(masking, predicted):
  steps = PLAIN | {'mask/action': BATCH['mask/action']}
  world = dataclasses.replace(
    masking.world, objectives={'masks': LastAllowed()} if predicted else {}
  )
  replayed = dataclasses.replace(replayed_of(masking, steps=steps), world=world)
  options = AgentOptions(horizon=10, imag_length=H)
  found = imagine(replayed, masking.behavior.policy, options, KEY)
  first = BATCH['mask/action'].reshape(-1, 3) > 0
  mask = np.asarray(found.mask['action'])
  assert mask.dtype == bool and mask.shape == (B * T, H + 1, 3)
  np.testing.assert_array_equal(mask[:, 0], first)
  later = np.broadcast_to([not predicted, not predicted, True], (B * T, H, 3))
  np.testing.assert_array_equal(mask[:, 1:], later)
  taken = np.take_along_axis(
    mask, np.asarray(found.action['action'])[..., None], -1
  )[..., 0]
  # Where nothing is allowed everything is.
  assert (taken | ~mask.any(-1)).all()


class Unsure:
  """An objective that allows another class for all steps at once.

  So may rounding, where a probability is near a half.
  """

  def mask(self, world, feat):
    allowed = jnp.arange(3) == feat['deter'].ndim - 1
    return {'action': jnp.broadcast_to(allowed, (*feat['deter'].shape[:-1], 3))}


def test_masks_of_a_dream_are_those_that_its_actions_were_drawn_by(masking):
  steps = PLAIN | {'mask/action': BATCH['mask/action']}
  world = dataclasses.replace(masking.world, objectives={'masks': Unsure()})
  replayed = dataclasses.replace(replayed_of(masking, steps=steps), world=world)
  options, policy = AgentOptions(imag_length=H), masking.behavior.policy
  found = imagine(replayed, policy, options, KEY)
  assert (found.action['action'][:, 1:] == 1).all()
  joint = policy(found.feat, given={}, mask=found.mask)
  logp = joint.logp(found.action)
  np.testing.assert_array_equal(logp[:, 1:], 0)
  assert (logp > -100).all()
