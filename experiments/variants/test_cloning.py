"""Demonstrations: their share, what they stay, and what cloning learns."""

import json

import jax
import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx import workflow
from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.errors import UserError
from dreamer_nnx.run import Run
from dreamer_nnx.training.batch_check import step_spaces
from experiments.variants import scripted, toys
from experiments.variants.cloning import DEMONSTRATION
from experiments.variants.toys import Toy, compiled

OBS = toys.OBS | {DEMONSTRATION: gs.Box(0, 1, (), np.float32)}
GAME = dict(size=6, columns=6, rows=6)
PATH = 'replay.mixture.data.dataset.path'
SIZES = {
  '**.simple.mults': (2,),
  'encoder.simple.depth': 4,
  'decoder.simple.depth': 4,
  **{f'env.labelled.inner.catch.{key}': x for key, x in GAME.items()},
}


@pytest.fixture(scope='module')
def demonstrations(tmp_path_factory):
  """A folder of demonstrations, all of which catch the ball."""
  folder = tmp_path_factory.mktemp('demonstrations')
  assert scripted.write(folder, 200, **GAME) == 1
  return folder


def demonstrated(batch):
  return batch[DEMONSTRATION].reshape(len(batch[DEMONSTRATION]), -1)


@pytest.fixture(scope='module')
def filled(demonstrations):
  """A replay of demonstrations and steps of random play, and its agent."""
  few = {'train.batch_size': 8, 'train.envs': 2, PATH: str(demonstrations)}
  config = toys.tiny('cloning', SIZES | few)
  envs = workflow.make_envs(config)
  spaces = envs.obs_space, envs.action_space
  learner = workflow.make_learner(config, *spaces)
  replay = workflow.make_replay(config, *spaces, learner)
  rng, obs = np.random.default_rng(0), envs.reset()
  zeros = {
    k: np.zeros((2, *x.shape), x.dtype)
    for k, x in step_spaces(*spaces, learner).items()
  }
  for _ in range(100):
    action = {'action': rng.integers(0, 3, 2).astype(np.int32)}
    replay.add(zeros | obs | action)
    obs = envs.step(action)
  envs.close()
  return replay


def test_the_share_of_demonstrations_is_exact(filled):
  for _ in range(50):
    batch, handle = filled.sample()
    rows = demonstrated(batch)
    # A quarter of eight rows, and whole ones.
    np.testing.assert_array_equal(rows.all(1), [False] * 6 + [True] * 2)
    np.testing.assert_array_equal(rows.any(1), rows.all(1))
    filled.update(handle, {}, {'model': np.zeros((8, toys.STEPS))})


def test_write_back_touches_none(filled):
  for _ in range(20):
    batch, handle = filled.sample()
    # Steps of data have no entries: they begin from nothing.
    assert (batch[CONSEC][6:] == -1).all() and (batch[CONSEC][:6] >= 0).all()
    assert not batch['latent/deter'][6:].any()
    entries = {
      key: np.full_like(x[:, 1:], 3)
      for key, x in batch.items()
      if key.startswith('latent/')
    }
    filled.update(handle, entries, {'model': np.ones((8, toys.STEPS))})
  written = [filled.sample()[0]['latent/deter'] for _ in range(20)]
  written = np.stack(written)
  assert (written[:, :6] == 3).any() and not written[:, 6:].any()


@pytest.fixture(scope='module')
def toy():
  return Toy('cloning', {'train.batch_size': 3}, OBS)


def test_demonstrated_actions_alone_are_cloned(toy):
  batch = toy.batch(0)
  batch[DEMONSTRATION] = (np.abs(batch[DEMONSTRATION]) > 0.5).astype(np.float32)

  @compiled
  def found(state, batch):
    agent = toy.agent(state)
    _, aux = toy.loss(agent, batch)
    replayed = aux['replayed']
    joint = agent.behavior.policy(replayed.observed.feat, given={}, mask={})
    logp = joint.logp(replayed.action)
    losses, _ = agent.objectives['cloning'].losses(
      replayed, jax.random.key(0), True
    )
    return losses['cloning'], logp

  loss, logp = found(toy.init(), batch)
  kept = (batch[DEMONSTRATION] > 0.5) & ~batch['is_last']
  np.testing.assert_allclose(loss, np.where(kept[:, 1:], -logp, 0), rtol=1e-5)
  assert 0 < kept[:, 1:].mean() < 1


# An action of two numbers and one of one, and masks for both; the second mask
# of a step often excludes all, which says nothing.
CHOICES = {'action': gs.Discrete(3), 'two': gs.MultiDiscrete([2, 4])}
MASKED = OBS | {
  f'mask/{key}': gs.Box(0, 1, (size,), np.float32)
  for key, size in (('action', 3), ('two', 6))
}


def excluded(batch):
  """Tells, one by one, where a mask excludes a number of an action."""
  found = np.zeros(batch['is_last'].shape, bool)
  for place in np.ndindex(found.shape):
    numbers = [batch['action'][place], *batch['two'][place]]
    of_two = np.split(batch['mask/two'][place], [2])
    masks = [batch['mask/action'][place], *of_two]
    for number, mask in zip(numbers, masks, strict=True):
      found[place] |= mask.any() and not mask[number]
  return found


@pytest.mark.parametrize('compute', ['float32', 'bfloat16'])
def test_actions_that_their_masks_exclude_are_not_cloned(compute):
  policy = {'behavior.actor_critic.policy.name': 'masked'}
  sizes = {'train.batch_size': 8, 'precision.compute': compute}
  toy = Toy('cloning', policy | sizes, MASKED, CHOICES)
  batch, rng = toy.batch(0), np.random.default_rng(1)
  batch[DEMONSTRATION][:] = 1
  shape = batch['is_last'].shape
  for key, size in (('mask/action', 3), ('mask/two', 6)):
    batch[key] = (rng.random((*shape, size)) < 0.6).astype(np.float32)

  @compiled
  def found(state, batch):
    _, aux = toy.loss(toy.agent(state), batch)
    return aux['losses']['cloning'], aux['metrics']['cloning/excluded']

  loss, share = found(toy.init(), batch)
  wrong, kept = excluded(batch)[:, 1:], ~batch['is_last'][:, 1:]
  assert 0.2 < wrong.mean() < 0.9
  np.testing.assert_array_equal(np.asarray(loss) > 0, kept & ~wrong)
  assert np.max(loss) < 50
  np.testing.assert_allclose(share, (kept & wrong).mean(), rtol=1e-6)


def test_it_has_to_be_told_what_demonstrates():
  with pytest.raises(
    UserError, match=r"cloning: .*observe 'label/demonstration'"
  ):
    Toy('cloning')


# Neither rewards nor dreams teach the policy anything, and what it needs to
# know comes before what is easy to predict.
ALONE = {f'loss_scales.{k}': 0.0 for k in ('policy', 'value', 'repval', 'rep')}
ALONE |= {'loss_scales.rec': 0.1, 'objectives.cloning.scale': 10.0}
RUN = {
  '**.units': 32,
  'behavior.actor_critic.policy.mlp.layers': 1,
  'dynamics.rssm.deter': 32,
  'dynamics.rssm.hidden': 32,
  'dynamics.*.stochastic.categorical.stoch': 8,
  'dynamics.*.stochastic.categorical.classes': 8,
  'agent.imag_length': 1,
  'agent.imag_last': 1,
  'dynamics.*.stochastic.categorical.unimix': 0.0,
  'optimizer.dreamer.lr': 3e-3,
  'optimizer.dreamer.schedule': 'linear',
  'optimizer.dreamer.anneal': 1500,
  'train.batch_size': 16,
  'train.batch_length': 6,
  'train.envs': 2,
  'train.steps': 2,
  'train.offline': 1500,
  'train.log_every': 500,
  'evaluate.episodes': 50,
  'evaluate.envs': 10,
  'evaluate.sampled': False,
  'loggers.names': ('jsonl',),
}


def test_cloning_alone_plays_as_well_offline(demonstrations, tmp_path):
  config = toys.tiny(
    'cloning', SIZES | RUN | ALONE | {PATH: str(demonstrations)}
  )
  with Run(config, tmp_path) as run:
    run.train()
  lines = (tmp_path / 'metrics.jsonl').read_text('utf-8').splitlines()
  logged = [json.loads(line) for line in lines]
  offline = [x for x in logged if x.get('offline/env_steps') == 0]
  # While offline nothing is played, and every row demonstrates.
  assert [x['offline/updates'] for x in offline] == [500, 1000, 1500]
  assert all(x['train/cloning/share'] == 1 for x in offline)
  (score,) = [x['eval/return'] for x in logged if 'eval/return' in x]
  assert score >= 0.98
