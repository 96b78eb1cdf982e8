"""The diagnosis of a run, and of what was broken on purpose."""

import jax
import numpy as np
import pytest

from dreamer_nnx import config as configs
from dreamer_nnx import recorded, streams
from dreamer_nnx.diagnosis import checkup, gradients, playing
from dreamer_nnx.trained import Trained
from tests import stored
from tests.play.conftest import TRACK

NAME = 'encoder/'


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  folder = tmp_path_factory.mktemp('checkup') / 'run'
  return Trained(stored.write(folder, **TRACK))


@pytest.fixture(scope='module')
def found(trained):
  return checkup.diagnose(trained)


def test_everything_is_known(found):
  assert found.missing == ()
  assert found.bad == ''
  assert found.source == checkup.REPLAY
  errors = found.errors
  assert errors.seen == 3
  assert set(errors.imagined) == {'image', 'reward', 'cont'}
  for part in (errors.imagined, errors.observed, errors.still):
    assert all(x.shape == (6,) for x in part.values())
    assert all(np.nanmin(x) >= 0 for x in part.values())
    assert np.nanmax(part['image']) <= 1
  # What is seen is not guessed.
  np.testing.assert_array_equal(errors.still['image'][:3], 0)
  assert errors.still['image'][3:].max() > 0
  np.testing.assert_allclose(
    errors.imagined['image'][:3], errors.observed['image'][:3], atol=0.05
  )
  assert (errors.count[:3] == errors.count[0]).all()
  assert found.codes.used.size == 2
  assert found.codes.kl.shape == (6,)
  assert {'dyn', 'rep', 'rew', 'con', 'image'} <= set(found.losses)
  assert np.isfinite(found.calibration.error)
  assert len(found.calibration.predicted) == 8 * 12


def test_gradients_are_those_of_each_loss(trained, found):
  assert set(found.norms) >= {'image', 'rew', 'con', 'policy', 'value'}
  assert found.norms['image'] > 0
  assert all(np.isfinite(x) for x in found.norms.values())


def test_a_norm_is_that_of_the_loss_alone(trained):
  layout = trained.layout
  arrays = trained.arrays(layout.shapes)
  rng, key = np.random.default_rng(0), streams.key(0, 17)
  parts = {
    'image': rng.integers(0, 255, (2, 7, 8, 8, 3), np.uint8),
    'action': rng.integers(0, 3, (2, 7), np.int32),
    'reward': rng.normal(size=(2, 7)).astype(np.float32),
    **{k: np.zeros((2, 7), bool) for k in ('is_first', 'is_last')},
    'is_terminal': np.zeros((2, 7), bool),
  }
  dynamics = layout.merge(arrays).dynamics
  parts |= {
    f'latent/{k}': np.zeros((2, 7, *x.shape), x.dtype)
    for k, x in dynamics.entry_space.items()
  }
  norms = gradients.Gradients(trained, 6).norms(arrays, parts, key)

  def reward_loss(params):
    agent = layout.merge(arrays | params)
    carry = agent.initial(2)
    _, aux = agent.loss(carry, parts, key, length=6, update=False)
    return agent.scales.weight('rew') * aux['losses']['rew'].mean()

  grads = jax.jit(jax.grad(reward_loss))({k: arrays[k] for k in layout.trained})
  norm = np.sqrt(sum(float((g**2).sum()) for g in grads.values()))
  assert norms['rew'] == pytest.approx(norm, rel=1e-4)
  assert norm > 0


def test_the_first_bad_array_is_named(trained):
  arrays = trained.arrays(trained.layout.shapes)
  names = sorted(arrays)
  broken = dict(arrays)
  for name in (names[3], names[7]):
    broken[name] = arrays[name] * np.nan
  assert gradients.first_bad(broken) == names[3]
  assert gradients.first_bad(arrays) == ''


def test_fresh_episodes_stand_for_a_replay_that_is_not_there(
  trained, found, monkeypatch
):
  monkeypatch.setitem(trained.meta, 'processes', [{}])
  other = checkup.diagnose(trained)
  assert other.source == checkup.FRESH and found.source == checkup.REPLAY
  (sentence,) = other.missing
  assert 'has no replay' in sentence
  assert other.errors.imagined.keys() == found.errors.imagined.keys()
  # Of each of 2 environments, windows of 1 + 6 steps of its 4 episodes.
  assert other.errors.count[0] == 2 * (4 * 13 // 7)
  assert other.codes.used.size == 2 and other.norms['image'] > 0
  np.testing.assert_array_equal(
    other.calibration.predicted, found.calibration.predicted
  )


def test_episodes_are_played_as_in_the_run(trained, monkeypatch):
  made = []

  def make(choice, num_envs, seed):
    made.append((choice.values(), num_envs))
    raise RuntimeError('that will do')

  monkeypatch.setattr(checkup, 'make_vector_env', make)
  parts = configs.bind_all(recorded.config(trained, False))
  for envs in (1, 2, 100):
    parts['train'] = parts['train'].replace(envs=envs)
    with pytest.raises(RuntimeError, match='that will do'):
      checkup._played(trained, parts, {})
  # A robot of which there is one is not asked for twice.
  assert [count for _, count in made] == [1, 2, 8]
  assert all(fields == parts['env'].values() for fields, _ in made)


def test_episodes_of_one_environment_follow_each_other():
  lengths, terminals = (3, 2, 4), (True, False, True)
  rewards, ends, terminal = [], [], []
  for number, (length, over) in enumerate(zip(lengths, terminals, strict=True)):
    rewards += [number] * length
    ends += [False] * (length - 1) + [True]
    terminal += [False] * (length - 1) + [over]
  flags = {'reward': rewards, 'is_last': ends, 'is_terminal': terminal}
  flags = {k: np.array(x)[:, None] for k, x in flags.items()}
  worth = np.arange(9.0)[:, None]
  found = playing._episodes(worth, flags, 2)
  assert [x.values.tolist() for x in found] == [[0, 1, 2], [3, 4]]
  assert [x.rewards.tolist() for x in found] == [[0, 0, 0], [1, 1]]
  assert [x.terminal for x in found] == [True, False]
  # One that has not ended is not known to the end.
  flags['is_last'][3:] = False
  assert len(playing._episodes(worth, flags, 2)) == 1
  flags['is_last'][:] = False
  (whole,) = playing._episodes(worth, flags, 2)
  assert len(whole.values) == 9


def test_an_environment_that_fails_leaves_all_else(trained, monkeypatch):
  def broken(*given):
    raise RuntimeError('no display\nat all')

  monkeypatch.setattr(checkup, 'make_vector_env', broken)
  other = checkup.diagnose(trained)
  assert other.calibration is None and other.errors is not None
  assert other.missing == (
    'Nothing is known of its value: RuntimeError: no display at all',
  )
