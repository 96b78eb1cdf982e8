"""`track`: its returns, its rules step by step, its picture, its streams."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx import contracts, envs
from dreamer_nnx.envs import drawing, jax_vector
from dreamer_nnx.envs.track import Track, track
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV

LENGTH = 32


def columns(image):
  """Columns of target and paddle in (W, 16, 16, 3) images of 8 columns."""
  target = (image == drawing.OBJECT).all(-1).any(1)[:, ::2].argmax(-1)
  paddle = (image == drawing.PADDLE).all(-1).any(1)[:, ::2].argmax(-1)
  return target, paddle


def play(env, policy, episodes):
  """Mean return of complete episodes; every one has LENGTH + 1 steps."""
  total, step = 0.0, env.reset()
  for _ in range(episodes * (LENGTH + 1) - 1):
    step = env.step({'action': policy(step)})
    total += step['reward'].sum()
  assert step['is_last'].all()
  return total / (episodes * env.num_envs)


def oracle(step):
  target, paddle = columns(step['image'])
  return 1 + np.sign(target - paddle)


def test_it_is_the_vector_environment_of_its_config_name():
  env = envs.make_vector_env(Choice(ENV, 'track'), 3, 0)
  assert isinstance(env, contracts.VectorEnv)
  assert env.num_envs == 3
  assert env.obs_space['image'].shape == (16, 16, 3)
  assert env.action_space['action'].n == 3


def test_the_oracle_earns_about_30_and_chance_about_4():
  # Starting at distance d on 8 columns the oracle misses max(d - 1, 0) steps,
  # 1.75 on average, and hardly any later: 30.25. Without it paddle and target
  # are independent and uniform, so a step is rewarded with 1/8: 4. Deviations
  # over 1,600 episodes are below 0.05 and 0.15.
  rng = np.random.default_rng(0)
  chance = lambda step: rng.integers(0, 3, len(step['reward']))
  env = track(num_envs=16, seed=0)
  assert play(env, oracle, 100) == pytest.approx(30.25, abs=0.25)
  assert play(env, chance, 100) == pytest.approx(4.0, abs=0.6)


def test_flags_of_two_episodes():
  env = track(num_envs=2, seed=1, length=3)
  steps = [env.reset()]
  steps += [env.step({'action': np.array([1, 2])}) for _ in range(8)]
  flags = lambda key: [bool(step[key][0]) for step in steps]
  assert flags('is_first') == [True, False, False, False] * 2 + [True]
  assert flags('is_last') == [False, False, False, True] * 2 + [False]
  assert not any(flags('is_terminal'))
  assert all(step['is_first'][0] == step['is_first'][1] for step in steps)
  firsts = [step['reward'][step['is_first']] for step in steps]
  assert not np.concatenate(firsts).any()
  assert steps[0]['reward'].dtype == np.float32
  assert steps[0]['image'].dtype == np.uint8


def test_rewards_and_moves_follow_the_picture():
  env = track(num_envs=8, seed=2)
  rng = np.random.default_rng(3)
  step, moved = env.reset(), []
  for _ in range(5 * (LENGTH + 1)):
    target, paddle = columns(step['image'])
    action = rng.integers(0, 3, 8)
    new = env.step({'action': action})
    after, place = columns(new['image'])
    on = ~step['is_last']
    np.testing.assert_array_equal(
      place[on], np.clip(paddle + action - 1, 0, 7)[on]
    )
    np.testing.assert_array_equal(
      new['reward'], np.where(on, place == target, 0.0)
    )
    assert np.abs(after - target)[on].max(initial=0) <= 1
    moved += list((after != target)[on])
    step = new
  # Moves with 1/4, of which 1/3 stay, and some are stopped at the border:
  # 1/4 * 2/3 * 7/8 = 0.146 of the steps, give or take 3 * 0.01.
  assert np.mean(moved) == pytest.approx(0.146, abs=0.03)


def test_both_start_anywhere():
  game = Track(16, 8, 32, 0.25)
  state = jax.vmap(game.reset)(jax.random.split(jax.random.key(0), 400))
  pairs = set(
    zip(state['paddle'].tolist(), state['target'].tolist(), strict=True)
  )
  assert len(pairs) == 64


def test_every_state_has_its_own_picture():
  game = Track(16, 8, 32, 0.25)
  grid = jnp.stack(jnp.meshgrid(jnp.arange(8), jnp.arange(8)), -1)
  grid = grid.reshape(-1, 2)
  states = {'paddle': grid[:, 0], 'target': grid[:, 1], 'time': grid[:, 0]}
  image = np.asarray(jax.vmap(game.observe)(states)['image'])
  target, paddle = columns(image)
  np.testing.assert_array_equal(target, grid[:, 1])
  np.testing.assert_array_equal(paddle, grid[:, 0])
  assert not image[:, 8:10].any()


def test_size_and_difficulty_are_fields():
  choice = Choice(ENV, 'track', size=32, columns=4, move_probability=0.0)
  env = envs.make_vector_env(choice, 1, 0)
  first = env.reset()
  assert first['image'].shape == (1, 32, 32, 3)
  masks = [(first['image'] == drawing.OBJECT).all(-1)]
  for action in (0, 2, 0, 2):
    step = env.step({'action': np.array([action])})
    masks.append((step['image'] == drawing.OBJECT).all(-1))
  assert masks[0].sum() == 16 * 8
  assert all((mask == masks[0]).all() for mask in masks)


def rollout(env, actions):
  return [env.step({'action': action}) for action in actions]


def same(a, b):
  for x, y in zip(a, b, strict=True):
    assert x.keys() == y.keys()
    for key in x:
      np.testing.assert_array_equal(x[key], y[key])


def test_a_seed_is_a_run_and_an_index_a_stream():
  actions = np.random.default_rng(4).integers(0, 3, (70, 4))
  one, two = track(num_envs=4, seed=5), track(num_envs=4, seed=5)
  same([one.reset()], [two.reset()])
  wide = rollout(one, actions)
  same(wide, rollout(two, actions))
  small = track(num_envs=2, seed=5)
  small.reset()
  cut = [{k: v[:2] for k, v in step.items()} for step in wide]
  same(cut, rollout(small, actions[:, :2]))
  other = track(num_envs=4, seed=6)
  other.reset()
  images = lambda steps: np.stack([step['image'] for step in steps])
  assert (images(wide) != images(rollout(other, actions))).any()
  assert (images(wide)[:, 0] != images(wide)[:, 1]).any()


def test_a_restored_run_goes_on_bit_for_bit():
  actions = np.random.default_rng(7).integers(0, 3, (150, 3))
  env = track(num_envs=3, seed=8)
  assert env.state() is None
  env.reset()
  rollout(env, actions[:50])
  saved = json.loads(json.dumps(env.state()))
  rest = rollout(env, actions[50:])
  again = track(num_envs=3, seed=99)
  again.restore(saved)
  same(rollout(again, actions[50:]), rest)


def test_a_state_of_another_run_is_refused():
  env = track(num_envs=3, seed=8)
  env.reset()
  state = env.state()
  with pytest.raises(ValueError, match=r'is \(3,\), this one \(2,\)'):
    track(num_envs=2, seed=0).restore(state)
  with pytest.raises(ValueError, match=r"state/state has \['paddle', 'target'"):
    envs.catch.catch(num_envs=3, seed=0).restore(state)


def test_steps_are_ours_to_change():
  env = track(num_envs=2, seed=0)
  step = env.reset()
  step['image'][:] = 7
  step['is_first'][:] = False
  again = env.step({'action': np.array([1, 1])})
  assert not (again['image'] == 7).any()


@pytest.mark.parametrize(
  'fields, message',
  [
    (
      {'size': 15},
      'config.env.track.size = 15: must be a multiple of the 8 columns',
    ),
    ({'columns': 1}, 'config.env.track.columns = 1: must be at least 3'),
    ({'length': 0}, 'config.env.track.length = 0: must be at least 1'),
    (
      {'move_probability': 1.5},
      'config.env.track.move_probability = 1.5: .* 0 and at most 1',
    ),
  ],
)
def test_fields_out_of_range(fields, message):
  with pytest.raises(ValueError, match=message):
    envs.make_vector_env(Choice(ENV, 'track', **fields), 1, 0)


def test_misuse():
  env = track(num_envs=2, seed=0)
  with pytest.raises(envs.EnvError, match='call reset before step'):
    env.step({'action': np.array([0, 1])})
  env.reset()
  with pytest.raises(envs.EnvError, match=r"'action' is missing, got \['a'\]"):
    env.step({'a': np.array([0, 1])})
  with pytest.raises(envs.EnvError, match=r'shape \(3,\), expected \(2,\)'):
    env.step({'action': np.array([0, 1, 1])})
  assert env.stats() == {'env/restarts': 0.0}
  env.close()


def test_without_a_cpu_games_run_on_what_there_is(monkeypatch):
  devices, asked = jax.local_devices(), []

  def local_devices(*, backend=None):
    asked.append(backend)
    if backend == 'cpu':
      raise RuntimeError("Unknown backend cpu. Available backends are ['cuda']")
    return devices

  monkeypatch.setattr(jax, 'local_devices', local_devices)
  assert jax_vector.device() == devices[0]
  assert asked == ['cpu', None]
