"""Plan2Explore: who learns from what, and where disagreement falls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.contracts import Dream
from dreamer_nnx.errors import UserError
from experiments.variants import toys
from experiments.variants.toys import Toy, after_five, compiled, differing

ENSEMBLE = {'objectives.disagreement.members': 3}


@pytest.fixture(scope='module')
def toy():
  return Toy('plan2explore', ENSEMBLE)


@pytest.fixture(scope='module')
def trained(toy):
  return after_five(toy)


def test_rewards_reach_nothing_but_their_predictor(toy, trained):
  other = 3 * np.ones((toys.ROWS, toys.STEPS + 1), np.float32)
  found = differing(trained, after_five(toy, reward=other))
  assert {name for name in found if not name.startswith('optimizer/')} == {
    name for name in trained if name.startswith('reward/')
  }


def test_the_world_model_learns_as_without_it(trained):
  without = after_five(Toy('plan2explore', {'objectives.names': ()}))
  found = differing(trained, without)
  found = {name for name in found if not name.startswith('optimizer/')}
  assert any('policy' in name for name in found)
  assert all(name.startswith('behavior/') for name in found)


def test_a_first_step_follows_nothing(toy):
  @compiled
  def loss(state, batch):
    _, aux = toy.loss(toy.agent(state), batch)
    return aux['losses']['disagreement'], aux['metrics'][
      'disagreement/variance'
    ]

  batch, state = toy.batch(0), toy.init()
  found, _ = loss(state, batch)
  follows = ~batch['is_first'][:, 1:]
  # Before the first trained step is the context.
  follows[:, 0] = False
  np.testing.assert_array_equal(found != 0, follows)
  begins = np.ones_like(batch['is_first'])
  alone = loss(state, batch | {'is_first': begins})
  assert not any(np.any(x) for x in alone)


def dream(feat, action):
  """Dreams (N, 2) of one step each."""
  twice = lambda x: jnp.stack([x, jnp.zeros_like(x)], 1)
  ones = np.ones((len(action), 2), np.float32)
  feat = {name: twice(x) for name, x in feat.items()}
  return Dream(feat, {'action': twice(action)}, ones, ones, ones)


def test_disagreement_falls_where_it_was_trained():
  # A chain of states, whose last action is never taken.
  patterns = {
    'objectives.disagreement.predictor.layers': 1,
    'objectives.disagreement.predictor.units': 16,
    'train.batch_size': 8,
  }
  toy = Toy('plan2explore', ENSEMBLE | patterns)
  batches = [chain(toy, seed) for seed in range(200)]
  state, _ = toy.train(toy.init(), batches)

  @compiled
  def disagreement(state, batch, action):
    agent = toy.agent(state)
    _, aux = toy.loss(agent, batch)
    feat = jax.tree.map(lambda x: x[:, -1], aux['replayed'].observed.feat)
    objective = agent.objectives['disagreement']
    dreams = dream(feat, action)
    return objective.reward(agent.world, dreams, jax.random.key(0))

  batch = chain(toy, 1000)
  held_out = np.full(toy.rows, 2, np.int32)
  taken = np.arange(toy.rows, dtype=np.int32) % 2
  seen, unseen = (
    disagreement(state, batch, action)[:, 1] for action in (taken, held_out)
  )
  assert (seen < unseen).all()
  first = disagreement(toy.init(), batch, taken)[:, 1]
  assert seen.mean() < 0.5 * first.mean()
  assert unseen.mean() > 2 * seen.mean()


def chain(toy, seed):
  """A walk on a ring of three states; action 1 moves, and 0 does not."""
  rng = np.random.default_rng(seed)
  batch = toy.batch(seed)
  shape = batch['reward'].shape
  action = rng.integers(0, 2, shape).astype(np.int32)
  place = np.cumsum(action, 1) - action + rng.integers(0, 3, (len(action), 1))
  never = np.zeros(shape, bool)
  return batch | {
    'vector': np.eye(3, dtype=np.float32)[place % 3],
    'action': action,
    'is_first': never,
    'is_last': never,
    'is_terminal': never,
  }


def test_the_reward_of_the_start_never_matters(toy):
  @compiled
  def scores(state, first):
    agent = toy.agent(state)
    size = agent.dynamics.feat_space
    feat = {k: np.ones((5, n), np.float32) for k, n in size.items()}
    dreams = dream(feat, np.arange(5, dtype=np.int32) % 3)
    objective, key = agent.objectives['disagreement'], jax.random.key(0)
    reward = objective.reward(agent.world, dreams, key)
    changed = reward.at[:, 0].set(first)
    score = agent.behavior.critic.score(dreams, changed, False)
    return reward, score.returns, score.advantage, score.loss

  state = toy.init()
  reward, *one = scores(state, 0.0)
  _, *two = scores(state, 100.0)
  assert not reward[:, 0].any() and reward[:, 1].all()
  assert all(np.array_equal(x, y) for x, y in zip(one, two, strict=True))


def test_tokens_are_a_target_and_others_are_named():
  toy = Toy(
    'plan2explore', ENSEMBLE | {'objectives.disagreement.target': 'tokens'}
  )
  ends = [k for k in toy.layout.shapes if 'ensemble/0/head' in k]
  sizes = {toy.layout.shapes[name].shape[-1] for name in ends}
  assert sizes == {toys.TINY['**.units']}
  with pytest.raises(UserError, match=r'disagreement\.target.*stoch, tokens'):
    Toy('plan2explore', {'objectives.disagreement.target': 'pixels'})
