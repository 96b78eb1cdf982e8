"""Masked actions: never drawn, neither in acting nor in dreams."""

import jax
import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx import workflow
from dreamer_nnx.acting.dream import imagine
from experiments.variants import toys
from experiments.variants.toys import Toy, after_five, compiled, differing

MASK = 'mask/action'
OBS = toys.OBS | {MASK: gs.Box(0, 1, (3,), np.float32)}
DRAWS = 10_000
RNG = np.random.default_rng(0)


def masks(*shape):
  """Random masks; one of eight allows nothing, and so everything."""
  return RNG.integers(0, 2, (*shape, 3)).astype(np.float32)


@pytest.fixture(scope='module')
def toy():
  rows = DRAWS // toys.STEPS
  return Toy('masked', {'train.batch_size': rows}, OBS)


def excluded(action, mask):
  """Counts actions that a mask with any class left excludes."""
  mask = np.asarray(mask, bool)
  chosen = np.take_along_axis(mask, np.asarray(action)[..., None], -1)[..., 0]
  return int((~chosen & mask.any(-1)).sum())


@pytest.mark.parametrize('mode', ['sample', 'mode'])
def test_acting_never_takes_a_masked_action(toy, mode):
  mask = masks(DRAWS)
  obs = {
    'vector': RNG.normal(size=(DRAWS, 3)).astype(np.float32),
    MASK: mask,
    'is_first': np.ones(DRAWS, bool),
  }
  act = compiled(toy.pure.act, static_argnames='mode')
  state, carry = toy.init(), toy.pure.initial(DRAWS)
  _, action, _ = act(state, carry, obs, jax.random.key(0), 0, mode=mode)
  action = np.asarray(action['action'])
  assert excluded(action, mask) == 0
  # All that is allowed is drawn, and everything where nothing is.
  nothing = ~mask.astype(bool).any(-1)
  if mode == 'sample':
    assert set(action[nothing]) == set(action[mask.all(-1)]) == {0, 1, 2}
  # Without a mask many would be.
  free = obs | {MASK: np.ones_like(mask)}
  _, free, _ = act(state, carry, free, jax.random.key(0), 0, mode=mode)
  assert excluded(free['action'], mask) > DRAWS // 10


def test_dreams_never_take_a_masked_action(toy):
  batch = toy.batch(0)
  batch[MASK] = masks(*batch['reward'].shape)

  @compiled
  def dreamt(state, batch, key):
    agent = toy.agent(state)
    _, aux = toy.loss(agent, batch)
    behavior = agent.behavior
    return imagine(aux['replayed'], behavior.policy, behavior.options, key)

  dream = dreamt(toy.init(), batch, jax.random.key(0))
  mask, action = np.asarray(dream.mask['action']), dream.action['action']
  assert len(mask) == DRAWS
  # The true mask is first, predicted ones follow; both exclude something.
  true = batch[MASK][:, 1:].reshape(DRAWS, 3) > 0.5
  np.testing.assert_array_equal(mask[:, 0], true)
  assert 0.1 < mask[:, 1:].mean() < 0.9
  assert excluded(action, mask) == 0


def test_masks_are_learnt():
  toy = Toy('masked', {'train.batch_size': 16}, OBS)
  batches = [follows(toy, seed) for seed in range(150)]
  _, metrics = toy.train(toy.init(), batches)
  assert metrics['mask/action'] > 0.95


def follows(toy, seed):
  """Steps of which the signs of the observation are the mask."""
  batch = toy.batch(seed)
  batch['vector'] = np.sign(batch['vector'])
  never = np.zeros_like(batch['is_first'])
  flags = dict.fromkeys(('is_first', 'is_last', 'is_terminal'), never)
  return batch | {MASK: (batch['vector'] > 0).astype(np.float32)} | flags


def test_without_a_scale_all_else_learns_as_without_it():
  off = Toy('masked', {'objectives.masks.scale': 0.0}, OBS)
  without = Toy('masked', {'objectives.names': ()}, OBS)
  states = after_five(off), after_five(without)
  assert states[0].keys() == states[1].keys()
  assert not differing(*states)


def test_the_game_is_never_asked_for_what_it_excludes():
  # It raises an error for such an action, which would end the run.
  config = toys.tiny('masked', {'env.custom.max_restarts': 0})
  envs = workflow.make_envs(config)
  learner = workflow.make_learner(config, envs.obs_space, envs.action_space)
  state, carry = learner.init(0), learner.initial(envs.num_envs)
  obs, acting, seen = envs.reset(), learner.acting(state), set()
  for i in range(60):
    carry, action, _ = learner.policy(acting, carry, obs, jax.random.key(0), i)
    seen |= {int(x) for x in action['action']}
    obs = envs.step(jax.device_get(action))
  envs.close()
  assert seen == {0, 1, 2}
