"""The functions of a run, without a learner or a mesh."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from gymnasium import spaces as gs

from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.registry import Choice, Choices
from dreamer_nnx.slots import AUGMENTATION, DECODER, ENCODER, OBJECTIVE
from dreamer_nnx.training import sharding
from dreamer_nnx.training.pure import Pure
from dreamer_nnx.training.step import Learner
from tests.agent.parts import make_agent, make_batch
from tests.training import small
from tests.training.small import B, T, make_pure

KEY = jax.random.key(3)


def batch_of(seed=0):
  """Steps (B, 1 + T) with entries."""
  entry = np.random.default_rng(seed).normal(size=(B, 1 + T, 2))
  steps = make_batch(B, 1 + T, seed)
  return steps | {'latent/deter': entry.astype(np.float32)}


OBS = {
  'vector': batch_of()['vector'][:, 0],
  'is_first': np.array([True, False]),
}


@pytest.fixture(scope='module')
def pure():
  return Pure(make_agent, optax.sgd(0.1), batch_length=T)


@pytest.fixture(scope='module')
def learner():
  return Learner(
    make_agent,
    optax.sgd(0.1),
    sharding.make_sharding(devices=jax.devices()[:1]),
    batch_length=T,
  )


@pytest.fixture(scope='module')
def init(pure):
  return jax.jit(pure.init)


@pytest.fixture(scope='module')
def update(pure):
  return jax.jit(pure.update)


@pytest.fixture(scope='module')
def trained(pure, init, update):
  """What each of three updates gives."""
  return trained_by(init, update, pure.initial(B))


def trained_by(init, update, carry, seed=0, batches=batch_of):
  state, found = init(*small.keys(seed)), []
  for i in range(3):
    state, carry, back, metrics = update(state, carry, batches(i))
    found.append((state, carry, back, metrics))
  return jax.device_get(found)


def close(one, two, rtol=1e-5, atol=1e-6):
  """Compares two trees, keys of random numbers too."""
  raw = lambda x: jax.random.key_data(x) if 'key' in str(x.dtype) else x
  for (path, x), (_, y) in zip(
    *(jax.tree_util.tree_leaves_with_path(z) for z in (one, two)), strict=True
  ):
    name = jax.tree_util.keystr(path)
    np.testing.assert_allclose(raw(x), raw(y), rtol, atol, err_msg=name)


def test_updates_are_those_of_the_learner(learner, init, trained):
  state = init(*small.keys(0))
  state = {
    k: jax.device_put(x, learner.abstract[k].sharding) for k, x in state.items()
  }
  carry, found = learner.initial_rows(B), []
  for i in range(3):
    state, carry, *rest = learner.train_step(state, carry, batch_of(i))
    found.append(jax.device_get((state, carry, *rest)))
  close(found, trained)


def test_acting_is_that_of_the_learner(pure, learner, init):
  state = init(*small.keys(0))
  act = jax.jit(pure.act, static_argnames='mode')
  acting = {k: state[k] for k in pure.layout.acting}
  for mode in ('sample', 'mode'):
    found = act(acting, pure.initial(B), OBS, KEY, 5, mode=mode)
    expected = learner.policy(acting, learner.initial(B), OBS, KEY, 5, mode)
    close(found, expected)


def test_what_acting_does_not_read_changes_nothing(pure, learner, init):
  state = init(*small.keys(0))
  acting = {k: state[k] for k in pure.layout.acting}
  every = {k: state[k] for k in pure.layout.shapes}
  for mode in ('sample', 'mode'):
    found, whole = (
      learner.policy(arrays, learner.initial(B), OBS, KEY, 0, mode)
      for arrays in (acting, every)
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, found, whole))


def test_draws_of_acting_have_their_number(pure, init):
  acting = init(*small.keys(0))
  wide = {k: np.repeat(x[:1], 64, 0) for k, x in OBS.items()}
  act = jax.jit(pure.act)
  actions = [
    np.asarray(act(acting, pure.initial(64), wide, KEY, i)[1]['action'])
    for i in (0, 0, 1)
  ]
  assert (actions[0] == actions[1]).all() and (actions[0] != actions[2]).any()


def test_two_seeds_are_mapped_at_once(pure, trained, init, update):
  keys = [small.keys(seed) for seed in (0, 1)]
  stacked = jax.tree.map(lambda *x: jnp.stack(x), *keys)
  state = jax.jit(jax.vmap(pure.init))(*stacked)
  carry = jax.tree.map(lambda x: jnp.stack([x, x]), pure.initial(B))
  both = jax.jit(jax.vmap(pure.update, in_axes=(0, 0, None)))
  found = []
  for i in range(3):
    state, carry, back, metrics = both(state, carry, batch_of(i))
    found.append((state, carry, back, metrics))
  other = trained_by(init, update, pure.initial(B), seed=1)
  for seed, expected in enumerate((trained, other)):
    one = jax.tree.map(lambda x, seed=seed: x[seed], found)
    close(jax.device_get(one), expected, rtol=1e-3, atol=1e-4)
  one, two = state['encoder/kernel']
  assert (one != two).all()


def test_arrays_are_gathered_before_they_are_computed_with(pure, init):
  state, seen = init(*small.keys(0)), []

  def gather(arrays):
    seen.append(set(arrays))
    return arrays

  run = functools.partial(pure.update, gather=gather)
  jax.eval_shape(run, state, pure.initial(B), batch_of())
  assert seen == [set(pure.layout.shapes)]


def test_a_report_needs_no_mesh_and_learns_nothing(pure, init):
  state = init(*small.keys(0))
  before = jax.device_get(state)
  metrics, videos = jax.jit(pure.report)(
    state, pure.initial(B), batch_of(), KEY
  )
  assert np.isfinite(metrics['loss/vector']) and videos == {}
  close(before, state, 0, 0)


def test_rows_without_entries_forget_what_was_before(update, pure, init):
  """With `consec` -1 neither the entry nor the carry counts."""
  state, zeros = init(*small.keys(0)), pure.initial(B)
  ones = jax.tree.map(jnp.ones_like, zeros)
  batch = batch_of() | {CONSEC: np.int32([-1, -1])}
  other = batch | {'latent/deter': batch['latent/deter'] + 1}
  _, _, one, _ = update(state, zeros, batch)
  _, _, two, _ = update(state, ones, other)
  close(one, two, 0, 0)
  batch = batch | {CONSEC: np.int32([-1, 0])}
  _, _, mixed, _ = update(state, zeros, batch)
  found, alone = (np.asarray(x['latent/deter']) for x in (mixed, one))
  np.testing.assert_array_equal(found[0], alone[0])
  assert not batch['is_first'][1, 1] and (found[1, 0] != alone[1, 0]).all()


class Extra(nnx.Module):
  """A loss that trains the features, and a reward."""

  def __init__(self, feat_space, rngs, *, scale: float = 1.0):
    self.scale = scale
    shape = (feat_space['deter'],)
    self.kernel = nnx.Param(jax.random.normal(rngs.params(), shape))

  def losses(self, replayed, key, update):
    found = replayed.observed.feat['deter'] @ self.kernel[...]
    return {'extra': jnp.square(found - 1)}, {}

  def reward(self, world, dream, key):
    return dream.feat['deter'] @ self.kernel[...]


class Noise:
  def __init__(self, *, scale: float = 1.0):
    self.scale = scale

  def __call__(self, inputs, key):
    draw = lambda x: x + self.scale * jax.random.normal(key, x.shape)
    return {k: draw(x) for k, x in inputs.items()}


def extended(objective, noise):
  extra = Choice(OBJECTIVE, f'{__name__}:Extra', scale=objective)
  more = Choice(AUGMENTATION, f'{__name__}:Noise', scale=noise)
  return make_pure(
    objectives=Choices(OBJECTIVE, [extra]),
    augmentations=Choices(AUGMENTATION, [more]),
  )


def steps_of(other, **kw):
  init, update = jax.jit(other.init), jax.jit(other.update)
  return trained_by(
    init, update, other.initial(B), batches=small.batch_of, **kw
  )


@pytest.mark.slow
def test_what_has_a_scale_of_zero_changes_nothing_else():
  (*_, found), (*_, expected) = (
    steps_of(x) for x in (extended(0.0, 0.0), make_pure())
  )
  assert found[0].keys() == expected[0].keys()
  close(found, expected, 0, 1e-6)


@pytest.mark.parametrize('scale', [0.0, 1.0])
def test_an_objective_with_a_scale_is_among_the_metrics(scale):
  other = extended(scale, 0.0)
  state = jax.eval_shape(other.init, *small.keys(0))
  batch = small.batch_of()
  *_, metrics = jax.eval_shape(other.update, state, other.initial(B), batch)
  name = 'objectives/Extra/kernel'
  assert ('loss/extra' in metrics) == (name in state) == bool(scale)


@pytest.mark.slow
def test_an_agent_without_a_decoder_learns_and_reports():
  other = make_pure(decoder=Choice(DECODER, 'none'))
  assert not [k for k in other.layout.shapes if k.startswith('decoder')]
  state, carry, _, metrics = steps_of(other)[0]
  assert np.isfinite(metrics['opt/loss']) and 'loss/vector' not in metrics
  told, videos = jax.jit(other.report)(state, carry, small.batch_of(), KEY)
  assert np.isfinite(told['loss/rew']) and videos == {}


IMAGES = {'image': gs.Box(0, 255, (8, 8, 3), np.uint8)}
CNN = Choice(ENCODER, 'simple', depth=2, mults=(2,))


@pytest.mark.parametrize('spaces', [small.OBS_SPACE, IMAGES], ids=list)
def test_one_exported_program_acts_for_any_number_of_environments(spaces):
  more = {'encoder': CNN} if spaces is IMAGES else {}
  # What is reconstructed is not exported.
  pure = make_pure(spaces, decoder=Choice(DECODER, 'none'), **more)
  (rows,) = jax.export.symbolic_shape('rows')
  any_rows = lambda x: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype)
  acting = {k: pure.layout.shapes[k] for k in pure.layout.acting}
  carry = jax.eval_shape(lambda: pure.initial(1))
  act = lambda *args: pure.act(*args, mode='mode')
  program = jax.export.export(jax.jit(act))(
    acting,
    jax.tree.map(any_rows, carry),
    jax.tree.map(any_rows, pure.layout.observed(1)),
    jax.eval_shape(lambda: KEY),
    jax.ShapeDtypeStruct((), jnp.int32),
  )
  state = jax.jit(pure.init)(*small.keys(0))
  acting = {k: state[k] for k in acting}
  ones = lambda x: jnp.ones(x.shape, x.dtype)
  for count in (1, 5):
    obs = jax.tree.map(ones, pure.layout.observed(count))
    args = acting, pure.initial(count), obs, KEY, jnp.asarray(0)
    close(program.call(*args), jax.jit(act)(*args), rtol=1e-4)
