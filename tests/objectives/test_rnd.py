"""Random network distillation: errors, rewards and their scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx.contracts import Dream, Observed, Replayed
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.predictor import Predictor
from dreamer_nnx.nn.slow_copy import SlowParam
from dreamer_nnx.objectives.rnd import RND
from dreamer_nnx.registry import Choice, Part
from dreamer_nnx.slots import HEAD
from tests.filling import filled

B, T, F = 3, 4, 2
RNG = np.random.default_rng(0)
FEAT = RNG.normal(size=(B, T, F)).astype(np.float32)
KEY = jax.random.key(0)
NETWORK = Part(Predictor, layers=1, units=16, head=Choice(HEAD, 'mse'))


def build(rngs):
  networks = dict(target=NETWORK, predictor=NETWORK, size=4)
  precision = Precision('float32')
  return RND({'deter': F}, **networks, precision=precision, rngs=rngs)


def replayed_of(feat):
  return Replayed(
    None, {}, {}, {}, {}, None, Observed({'deter': feat}, {}), None
  )


def dream_of(feat):
  ones = jnp.ones(feat.shape[:2])
  return Dream({'deter': feat}, {}, ones, ones, ones)


@pytest.fixture(scope='module')
def split():
  """A graph, and its arrays by path; statistics are those at first."""
  graphdef, state = nnx.split(filled(build))
  arrays = {path: v[...] for path, v in nnx.to_flat_state(state)}
  norm = {
    path: jnp.zeros_like(x) for path, x in arrays.items() if path[0] == 'norm'
  }
  return graphdef, arrays | norm


def merged(graphdef, arrays):
  return nnx.merge(graphdef, nnx.from_flat_state(list(arrays.items())))


def arrays_of(module):
  return {path: v[...] for path, v in nnx.to_flat_state(nnx.state(module))}


@pytest.fixture(scope='module')
def called(split):
  """Losses, metrics, rewards and new statistics, by `update`; and slopes."""
  graphdef, state = split

  @jax.jit
  def call(state, feat, dreamt):
    found = {}
    for update in (True, False):
      module = merged(graphdef, state)
      losses, metrics = module.losses(replayed_of(feat), KEY, update)
      reward = module.reward(None, dream_of(dreamt), KEY)
      found[update] = losses['rnd'], metrics, reward, arrays_of(module.norm)

    def total(feat):
      module = merged(graphdef, state)
      losses, _ = module.losses(replayed_of(feat), KEY, True)
      return (
        losses['rnd'].sum() + module.reward(None, dream_of(feat), KEY).sum()
      )

    return found, jax.grad(total)(feat)

  return jax.device_get(call(state, FEAT, FEAT[:, :3] + 1))


def errors(split, feat):
  module = merged(*split)
  feat = {'deter': feat}
  error = module.predictor(feat).pred() - module.target(feat).pred()
  return np.square(np.float64(error)).mean(-1)


def test_loss_is_the_error_of_the_predictor(split, called):
  loss, metrics, *_ = called[0][True]
  expected = errors(split, FEAT)
  assert loss.shape == (B, T)
  np.testing.assert_allclose(loss, expected, rtol=1e-4)
  np.testing.assert_allclose(metrics['rnd/error'], expected.mean(), rtol=1e-4)


def test_reward_is_the_error_in_deviations_of_that_of_the_batch(split, called):
  _, metrics, reward, _ = called[0][True]
  scale = errors(split, FEAT).std()
  np.testing.assert_allclose(metrics['rnd/scale'], scale, rtol=1e-3)
  expected = errors(split, FEAT[:, :3] + 1) / scale
  np.testing.assert_allclose(reward, expected, rtol=1e-3)


def test_statistics_learn_only_from_what_is_trained_on(called):
  found, _ = called
  learnt, kept = (jax.tree.leaves(found[update][3]) for update in (True, False))
  assert all(np.all(x != 0) for x in learnt)
  assert not any(np.any(x) for x in kept)


def test_features_learn_nothing_from_it(called):
  assert not called[1].any()


def test_errors_fall_where_it_was_trained_and_the_target_stays(split):
  graphdef, arrays = split
  kinds = nnx.to_flat_state(nnx.state(merged(*split)))
  kinds = {path: type(variable) for path, variable in kinds}
  assert {kinds[path] for path in kinds if path[0] == 'target'} == {SlowParam}
  params = {k: x for k, x in arrays.items() if kinds[k] is nnx.Param}
  assert {path[0] for path in params} == {'predictor'}

  def descend(arrays, _):
    def total(params):
      module = merged(graphdef, arrays | params)
      losses, _ = module.losses(replayed_of(FEAT), KEY, True)
      return losses['rnd'].mean(), arrays_of(module)

    params = {k: arrays[k] for k in kinds if kinds[k] is nnx.Param}
    slopes, arrays = jax.grad(total, has_aux=True)(params)
    new = jax.tree.map(lambda x, g: x - 0.2 * g, params, slopes)
    return arrays | new, None

  train = jax.jit(lambda x: jax.lax.scan(descend, x, length=300)[0])
  trained = train(arrays)
  for path, x in arrays.items():
    same = np.array_equal(trained[path], x)
    assert same == (path[0] == 'target'), path
  trained = graphdef, trained
  before, after = errors(split, FEAT), errors(trained, FEAT)
  unseen = errors(trained, 4 - 2 * FEAT)
  assert after.max() < 0.3 * before.mean()
  assert after.mean() < 0.3 * unseen.mean()
