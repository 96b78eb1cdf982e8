"""Objectives, labels and masks in the agent: what reaches what."""

import functools
import re
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx.acting.dream import imagine
from dreamer_nnx.agent.agent import merged
from dreamer_nnx.agent.settings import LossScales
from tests.agent.parts import (
  LABEL,
  MASK,
  Encoder,
  Policy,
  make_agent,
  make_batch,
  weight,
)
from tests.filling import filled

B, T = 4, 3
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
BATCH = make_batch(B, T) | {
  'label/cost': RNG.normal(size=(B, T)).astype(np.float32),
  'mask/action': np.float32(RNG.random((B, T, 3)) < 0.7),
}
FURTHER = LABEL | MASK


class Guess(nnx.Module):
  """Regresses the label from features, and pays a constant reward."""

  def __init__(self, rngs, scale=1.0, name='guess', reward=0.0):
    self.scale, self.name, self.amount = scale, name, reward
    self.kernel = weight(rngs, 2)

  def losses(self, replayed, key, update):
    guess = replayed.observed.feat['deter'] @ self.kernel[...]
    loss = jnp.square(guess - replayed.steps['label/cost'])
    return {self.name: loss}, {f'{self.name}_mean': guess.mean()}

  def reward(self, world, dream, key):
    # Entry 0 is ignored.
    return jnp.full_like(dream.reward, self.amount).at[:, 0].set(1e6)


def make(**kw):
  return filled(functools.partial(make_agent, further=FURTHER, **kw))


def guessing(*names, **kw):
  """Makers of objectives by name."""
  return {
    name: lambda rngs, n=name: Guess(rngs, name=n, **kw) for name in names
  }


def loss_of(agent, batch=BATCH, update=False):
  """The total and what comes with it, compiled."""
  graphdef, state = nnx.split(agent)

  @jax.jit
  def run(state, batch):
    agent = nnx.merge(graphdef, state)
    total, aux = agent.loss(
      agent.initial(B), batch, KEY, length=T, update=update
    )
    return total, {k: x for k, x in aux.items() if k != 'replayed'}

  return run(state, batch)


MODEL = dict(vector=1, rew=1, con=1, dyn=1, guess=3)
ACTING = dict(policy=1, value=1, repval=0.3)


def test_the_losses_of_an_objective_are_the_models_at_its_scale():
  total, aux = loss_of(make(objectives=guessing('guess', scale=3.0)))
  losses = {k: np.asarray(x) for k, x in aux['losses'].items()}
  assert losses.keys() == (MODEL | ACTING).keys()
  assert losses['guess'].shape == (B, T)
  expected = {k: w * losses[k] for k, w in (MODEL | ACTING).items()}
  np.testing.assert_allclose(
    total, sum(x.mean() for x in expected.values()), rtol=1e-5
  )
  np.testing.assert_allclose(
    aux['signals']['model'], sum(expected[k] for k in MODEL), rtol=1e-5
  )
  np.testing.assert_allclose(
    aux['metrics']['loss/guess'], losses['guess'].mean(), rtol=1e-5
  )
  assert 'guess_mean' in aux['metrics']


def test_a_field_of_the_loss_scales_is_not_that_of_an_objective():
  agent = make(objectives=guessing('guess'), scales=LossScales(rec=0.0))
  _, aux = loss_of(agent)
  expected = sum(
    np.asarray(aux['losses'][k]) * w
    for k, w in dict(rew=1, con=1, dyn=1, guess=1).items()
  )
  np.testing.assert_allclose(aux['signals']['model'], expected, rtol=1e-5)


def test_two_losses_of_one_name_are_an_error():
  agent = make(objectives={'a': Guess, 'b': Guess})
  message = (
    "config.objectives: two losses are named 'guess'. Rename one of them."
  )
  with pytest.raises(ValueError, match=f'^{re.escape(message)}'):
    jax.eval_shape(functools.partial(loss_of, agent))


@pytest.mark.parametrize('name', ['dyn', 'rew', 'vector', 'policy'])
def test_an_objective_takes_no_name_of_another_loss(name):
  agent = make(objectives=guessing(name))
  with pytest.raises(ValueError, match=f"two losses are named '{name}'"):
    jax.eval_shape(functools.partial(loss_of, agent))


def test_losses_are_joined_by_name():
  assert merged({'a': 1}, {}, {'b': 2}) == {'a': 1, 'b': 2}
  with pytest.raises(ValueError, match="'a'"):
    merged({'a': 1}, {'b': 2}, {'a': 1})


def rewards_of(**kw):
  """Extrinsic rewards of a dream, and those that a behaviour gets, (N, H+1)."""
  agent = make(**kw)
  seen, policy = {}, agent.behavior.policy

  def keep(replayed, rewards, key, update):
    dream = imagine(replayed, policy, agent.options, key)
    seen['dream'] = dream.reward
    seen['total'] = rewards(dream, key)
    return {}, {}, {}

  agent.behavior = type('Keeping', (), {'losses': staticmethod(keep)})()
  agent.loss(
    {'dynamics': agent.dynamics.initial(B), 'memory': {}, 'action': ACTION},
    BATCH,
    KEY,
    length=T,
    update=False,
  )
  return np.asarray(seen['dream']), np.asarray(seen['total'])


ACTION = {'action': np.zeros(B, np.int32)}


def test_rewards_are_scaled_and_added():
  objectives = guessing('guess', scale=3.0, reward=5.0)
  dream, total = rewards_of(objectives=objectives, extrinsic_scale=0.5)
  expected = 0.5 * dream + 15
  np.testing.assert_allclose(total[:, 1:], expected[:, 1:], rtol=1e-6)


def slopes_of(agent, batch):
  """Gradients of the whole loss."""
  graphdef, params, rest = nnx.split(agent, nnx.Param, ...)

  @jax.jit
  def run(params, batch):
    def total(params):
      agent = nnx.merge(graphdef, params, rest)
      carry = agent.initial(B)
      return agent.loss(carry, batch, KEY, length=T, update=False)[0]

    return jax.grad(total)(params)

  flat = nnx.to_flat_state(run(params, batch))
  return {'/'.join(map(str, path)): np.asarray(x[...]) for path, x in flat}


def test_entry_zero_of_a_reward_never_matters():
  slopes = [
    slopes_of(make(objectives={'guess': cls}, repval_loss=False), BATCH)
    for cls in (Guess, Silent)
  ]
  for name, x in slopes[0].items():
    np.testing.assert_allclose(x, slopes[1][name], rtol=1e-4, atol=1e-6)


class Silent(Guess):
  def reward(self, world, dream, key):
    return jnp.zeros_like(dream.reward)


@pytest.mark.parametrize('scale', [0.0, 1.0])
def test_at_an_extrinsic_scale_of_zero_the_rewards_head_moves_no_actor(scale):
  """The policy's gradient depends on the reward head only with a scale."""
  agent = make(extrinsic_scale=scale, objectives=guessing('guess', reward=1.0))
  one = slopes_of(agent, BATCH)
  agent.reward.kernel[...] = agent.reward.kernel[...] + 1
  two = slopes_of(agent, BATCH)
  name = 'behavior/policy/kernel'
  assert np.abs(one[name]).max() > 0
  assert np.array_equal(one[name], two[name]) == (scale == 0)


def test_the_reward_of_an_objective_has_no_gradient():
  class Steep(Guess):
    def losses(self, replayed, key, update):
      return {}, {}

    def reward(self, world, dream, key):
      return dream.feat['deter'] @ self.kernel[...]

  slopes = slopes_of(make(objectives={'steep': Steep}), BATCH)
  name = 'objectives/steep/kernel'
  np.testing.assert_array_equal(slopes[name], np.zeros(2))


def test_components_follow_their_parameters_after_an_update():
  class Following(Guess):
    def after_update(self, world, updates):
      self.kernel[...] = world.encoder.kernel[...].sum(0) + updates

  agent = make(objectives={'follow': Following, 'not': Guess})
  before = np.asarray(agent.objectives['not'].kernel[...])
  agent.after_update(jnp.asarray(7))
  expected = np.asarray(agent.encoder.kernel[...]).sum(0) + 7
  np.testing.assert_allclose(
    agent.objectives['follow'].kernel[...], expected, rtol=1e-6
  )
  np.testing.assert_array_equal(agent.objectives['not'].kernel[...], before)


class KeepingEncoder(Encoder):
  seen: ClassVar[set] = set()

  def __call__(self, obs):
    self.seen.update(obs)
    return super().__call__(obs)


class KeepingPolicy(Policy):
  seen: ClassVar[list] = []

  def __call__(self, feat, *, given, mask):
    self.seen.append((set(given), set(mask)))
    return super().__call__(feat, given=given, mask=mask)


@pytest.mark.parametrize('acting', [True, False])
def test_labels_and_masks_reach_the_policy_and_not_the_encoder(acting):
  agent = make(encoder=KeepingEncoder, policy=KeepingPolicy)
  KeepingEncoder.seen.clear()
  KeepingPolicy.seen.clear()
  if acting:
    obs = {k: BATCH[k][:, 0] for k in ('vector', 'is_first', *FURTHER)}
    act = functools.partial(agent.act, mode='sample')
    jax.eval_shape(act, agent.initial(B), obs, KEY)
  else:
    jax.eval_shape(functools.partial(loss_of, agent))
  assert KeepingEncoder.seen == {'vector'}
  assert KeepingPolicy.seen
  for seen in KeepingPolicy.seen:
    assert seen == ({'label/cost'}, {'action'})


def test_what_a_behaviour_is_told_while_acting():
  agent, told = make(), {}

  class Telling:
    def act(self, world, carry, feat, memory, obs, key, mode):
      told.update(obs=obs, memory=memory, mode=mode, feat=feat)
      return ACTION, memory + 1, {'plan': jnp.ones((B, 2))}

  agent.behavior = Telling()
  obs = {k: BATCH[k][:, 0] for k in ('vector', 'is_first', *FURTHER)}
  carry = {
    'dynamics': agent.dynamics.initial(B),
    'memory': jnp.arange(B),
    'action': ACTION,
  }
  carry, action, kept = agent.act(carry, obs, KEY, 'mode')
  assert told['obs'].keys() == {'is_first', 'label/cost', 'mask/action'}
  assert told['mode'] == 'mode'
  np.testing.assert_array_equal(carry['memory'], np.arange(B) + 1)
  assert carry['action'] == action == ACTION
  assert kept.keys() == {'latent/deter', 'acting/plan'}
  np.testing.assert_array_equal(kept['latent/deter'], told['feat']['deter'])


def test_masked_actions_are_never_taken():
  agent = make()
  count = 10_000
  obs = {
    'vector': np.ones((count, 3), np.float32),
    'is_first': np.ones(count, bool),
    'label/cost': np.zeros(count, np.float32),
    'mask/action': np.broadcast_to(np.float32([1, 0, 1]), (count, 3)),
  }
  act = jax.jit(functools.partial(agent.act, mode='sample'))
  _, action, _ = act(agent.initial(count), obs, KEY)
  assert set(np.unique(action['action'])) == {0, 2}


def double(inputs, key):
  return {k: 2 * x for k, x in inputs.items()}


def test_augmentations_change_what_is_learnt_from_and_no_report():
  agent = make(augmentations={'double': lambda rngs: double})
  _, learning = loss_of(agent, update=True)
  _, plainly = loss_of(make(), update=True)
  entry = lambda aux: np.asarray(aux['entries']['deter'])
  assert (entry(learning) != entry(plainly)).any()
  report = jax.jit(functools.partial(agent.report, length=T))
  expected = jax.jit(functools.partial(make().report, length=T))
  for name, x in expected(agent.initial(B), BATCH, KEY)[0].items():
    found = report(agent.initial(B), BATCH, KEY)[0][name]
    np.testing.assert_allclose(found, x, rtol=1e-5, err_msg=name)
