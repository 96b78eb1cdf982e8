"""World models that are loaded from checkpoints alone."""

import jax
import numpy as np
import pytest

import dreamer_nnx
from dreamer_nnx import streams
from dreamer_nnx.errors import UserError
from dreamer_nnx.streams import Stream
from tests import stored

T = 4
RNG = np.random.default_rng(0)
OBS = RNG.uniform(-1, 1, (2, T, 3))
ACTION = RNG.uniform(-2, 2, (2, T, 1))


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  folder = stored.write(tmp_path_factory.mktemp('dreams') / 'run')
  return dreamer_nnx.load_world_model(folder)


@pytest.fixture(scope='module')
def agent(model):
  layout = model.trained.layout
  return layout.merge(model.trained.arrays(layout.shapes))


@pytest.fixture(scope='module')
def seen(model):
  return model.observe(OBS, ACTION)


@pytest.fixture
def fresh(model):
  """The model whose next draw is that of its first call."""
  before, model._calls = model._calls, 0
  yield model
  model._calls = before


def key_of(call):
  return streams.key(0, Stream.DREAM, call)


def test_it_observes_as_the_dynamics_do(fresh, agent):
  first = np.zeros((2, T), bool)
  first[0, 2] = first[:, 0] = True
  found = fresh.observe(OBS, ACTION, is_first=first)
  tokens = agent.encoder({'vector': OBS.astype(np.float32)})
  before = np.pad(ACTION[:, :-1] / 2, [(0, 0), (1, 0), (0, 0)])
  carry, want = agent.dynamics.observe(
    agent.dynamics.initial(2),
    tokens,
    {'action': before.astype(np.float32)},
    first,
    key_of(1),
  )
  for name, feat in want.feat.items():
    np.testing.assert_allclose(found.feat[name], feat, atol=1e-6)
  assert all(isinstance(x, np.ndarray) for x in found.feat.values())
  np.testing.assert_allclose(
    found.reward, agent.reward(want.feat).pred(), atol=1e-6
  )
  assert found.cont.shape == found.value.shape == (2, T)
  np.testing.assert_allclose(
    found.end.carry['deter'], carry['deter'], atol=1e-6
  )


def test_it_goes_on_after_what_it_saw(fresh, agent, seen):
  found = fresh.observe(OBS, ACTION, after=seen)
  tokens = agent.encoder({'vector': OBS.astype(np.float32)})
  before = np.concatenate([ACTION[:, -1:], ACTION[:, :-1]], 1) / 2
  _, want = agent.dynamics.observe(
    seen.end.carry,
    tokens,
    {'action': before.astype(np.float32)},
    np.zeros((2, T), bool),
    key_of(1),
  )
  np.testing.assert_allclose(found.feat['deter'], want.feat['deter'], atol=1e-6)


def test_it_follows_actions_as_the_dynamics_do(fresh, agent, seen):
  actions = ACTION[:, :3]
  dreamt = fresh.imagine(seen, actions)
  carry, keys = seen.end.carry, jax.random.split(key_of(1), 3)
  for step in range(3):
    action = {'action': np.float32(actions[:, step] / 2)}
    carry, feat = agent.dynamics.predict(carry, action, keys[step])
    for name, x in feat.items():
      np.testing.assert_allclose(dreamt.feat[name][:, step + 1], x, atol=1e-6)
  for name, x in seen.feat.items():
    np.testing.assert_array_equal(dreamt.feat[name][:, 0], x[:, -1])
  np.testing.assert_allclose(dreamt.action, actions, rtol=1e-5)
  assert dreamt.reward.shape == dreamt.cont.shape == (2, 4)


def test_it_dreams_of_its_policy(fresh, agent, seen):
  dreamt = fresh.imagine(seen, length=3, mode='greedy')
  assert dreamt.action.shape == (2, 3, 1)
  assert dreamt.feat['deter'].shape == (2, 4, 16)
  feat = {name: x[:, :3] for name, x in dreamt.feat.items()}
  joint = agent.behavior.policy(feat, given={}, mask={})
  want = np.clip(joint.pred()['action'], -1, 1) * 2
  np.testing.assert_allclose(dreamt.action, want, rtol=1e-4, atol=1e-5)
  drawn = [fresh.imagine(seen, length=3).action for _ in range(2)]
  assert (drawn[0] != drawn[1]).any()


def test_one_row_needs_no_axis(model, seen):
  alone = model.observe(OBS[0], ACTION[0])
  assert alone.feat['deter'].shape == (T, 16)
  # Nothing was drawn before the first step.
  np.testing.assert_allclose(
    alone.feat['deter'][0], seen.feat['deter'][0, 0], atol=1e-6
  )
  dreamt = model.imagine(alone, ACTION[0, :2])
  assert dreamt.action.shape == (2, 1) and dreamt.reward.shape == (3,)


def test_it_decodes_in_the_environments_units(model, agent, seen):
  found = model.decode(seen.feat)
  want = agent.decoder(seen.feat)['vector'].pred()
  want = np.sign(want) * np.expm1(np.abs(want))
  np.testing.assert_allclose(found['vector'], want, rtol=1e-4, atol=1e-6)
  one = model.decode({name: x[0, 0] for name, x in seen.feat.items()})
  np.testing.assert_allclose(one['vector'], found['vector'][0, 0], atol=1e-6)


@pytest.mark.parametrize(
  ('call', 'message'),
  [
    (lambda m, s: m.observe(OBS, ACTION[:, :2]), 'both need'),
    (lambda m, s: m.observe(OBS[0, 0], ACTION[0, 0]), 'both need'),
    (lambda m, s: m.observe(OBS[0], ACTION[0], after=s), 'is of the rows'),
    (lambda m, s: m.observe(OBS[..., :2], ACTION), 'has the shape'),
    (lambda m, s: m.imagine(s, ACTION[0]), 'the rows are'),
    (lambda m, s: m.imagine(s, length=0), 'at least 1'),
    (lambda m, s: m.imagine(s, mode='greddy'), "Did you mean 'greedy'"),
    (lambda m, s: m.decode({'deter': s.feat['deter']}), r'stoch \(\.\.\., 8\)'),
  ],
)
def test_mistakes_are_said(model, seen, call, message):
  with pytest.raises(UserError, match=message):
    call(model, seen)


def test_images_are_decoded_as_images(tmp_path):
  game = {'env.name': 'track', 'env.track.size': 16, '**.simple.mults': (1, 4)}
  model = dreamer_nnx.load_world_model(stored.write(tmp_path / 'run', **game))
  frames = np.zeros((T, 16, 16, 3), np.uint8)
  seen = model.observe({'image': frames}, {'action': np.zeros(T, int)})
  dreamt = model.imagine(seen, length=2)
  assert dreamt.action['action'].shape == (2,)
  decoded = model.decode(dreamt.feat)['image']
  assert decoded.shape == (3, 16, 16, 3) and decoded.dtype == np.uint8
  layout = model.trained.layout
  agent = layout.merge(model.trained.arrays(layout.shapes))
  want = agent.decoder({k: x[None] for k, x in dreamt.feat.items()})
  want = np.asarray(want['image'].pred())[0] * 255
  np.testing.assert_allclose(decoded, want, atol=0.51)
  assert want.std() > 1
