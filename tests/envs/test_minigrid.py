"""MiniGrid itself: symbols, pictures, missions, ends and seeds."""

import gymnasium
import numpy as np
import pytest

from dreamer_nnx import config as configs
from dreamer_nnx import envs, workflow
from dreamer_nnx.envs.minigrid import WORDS, Pixels, Symbols, hashed
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV

library = pytest.importorskip('minigrid')
wrappers = pytest.importorskip('minigrid.wrappers')
FORWARD, LEFT = 2, 0
KINDS, COLOURS, STATES = 11, 6, 3


def make(count=1, seed=0, **fields):
  return envs.make_vector_env(Choice(ENV, 'minigrid', **fields), count, seed)


def step(env, *actions):
  return env.step({'action': np.array(actions)})


def codes(tiles):
  """One-hot symbols as the (7, 7, 3) numbers of the package."""
  rows = tiles.reshape(7, 7, -1)
  parts = np.split(rows, [KINDS, KINDS + COLOURS], -1)
  assert all((part.sum(-1) == 1).all() for part in parts)
  return np.stack([part.argmax(-1) for part in parts], -1)


@pytest.mark.parametrize('task', ['DoorKey-6x6', 'Fetch-8x8-N3'])
def test_symbols_are_the_tiles_of_the_package(task):
  theirs = gymnasium.make(f'MiniGrid-{task}-v0')
  ours = Symbols(gymnasium.make(f'MiniGrid-{task}-v0'), mission=False)
  rng = np.random.default_rng(0)
  (want, _), (got, _) = theirs.reset(seed=3), ours.reset(seed=3)
  for _ in range(60):
    assert got in ours.observation_space
    np.testing.assert_array_equal(codes(got['tiles']), want['image'])
    assert got['direction'] == want['direction']
    action = rng.integers(0, 6)
    want, *rest = theirs.step(action)
    got, *same = ours.step(action)
    assert rest[:3] == same[:3]
    if rest[1] or rest[2]:
      break


def test_a_picture_is_in_the_middle_of_64_pixels():
  draw = lambda: wrappers.RGBImgPartialObsWrapper(
    gymnasium.make('MiniGrid-DoorKey-6x6-v0'), tile_size=8
  )
  theirs, ours = draw(), Pixels(draw(), mission=False)
  (want, _), (got, _) = theirs.reset(seed=3), ours.reset(seed=3)
  assert got['image'].shape == (64, 64, 3)
  np.testing.assert_array_equal(got['image'][4:60, 4:60], want['image'])
  assert got['image'].sum() == want['image'].sum()
  first = make(view='pixels').reset()
  assert first['image'].dtype == np.uint8
  assert first['image'].shape == (1, 64, 64, 3)
  assert first['mission'].shape == (1, WORDS)


def test_it_draws_what_is_observed_as_symbols():
  env = make(render=True, image_size=(48, 48))
  assert env.obs_space['image'].shape == (48, 48, 3)
  first = env.reset()
  second = step(env, LEFT)
  assert first['image'].std() > 0 and 'tiles' in first
  assert (first['image'] != second['image']).any()
  env.close()


def test_its_films_show_a_picture():
  config = configs.base()
  config.env.name = 'minigrid'
  drawn = workflow.make_drawn_env(config)
  assert drawn.reset()['image'].ndim == 4
  drawn.close()


def test_missions_are_told_apart_by_words_and_their_order():
  near = hashed('put the box next to the ball')
  far = hashed('put the ball next to the box')
  assert near.sum() == 7 + 6
  assert (near != far).any()
  assert (hashed('go to the red door') != hashed('go to the blue door')).any()
  env = make(task='GoToDoor-5x5', time_limit=1)
  seen = [env.reset()['mission']]
  seen += [step(env, LEFT)['mission'] for _ in range(12)]
  assert len(np.unique(np.concatenate(seen), axis=0)) > 1
  assert 'mission' not in make(mission=False).obs_space


def test_the_goal_is_terminal_and_the_step_limit_is_not():
  # The goal is two steps to the right and two down; no walls between.
  env = make(task='Empty-5x5')
  steps = [env.reset()]
  steps += [step(env, x) for x in (FORWARD, FORWARD, 1, FORWARD, FORWARD, 0)]
  flags = lambda key: [bool(x[key][0]) for x in steps]
  assert flags('is_last') == flags('is_terminal')
  assert flags('is_last') == [False] * 5 + [True, False]
  assert flags('is_first') == [True] + [False] * 5 + [True]
  assert steps[5]['reward'][0] == pytest.approx(1 - 0.9 * 5 / 100)
  assert steps[6]['reward'][0] == 0
  steps = [step(env, LEFT) for _ in range(101)]
  ends = [bool(x['is_last'][0]) for x in steps]
  assert ends == [False] * 99 + [True, False]
  assert not any(x['is_terminal'][0] for x in steps)
  assert steps[-1]['is_first'][0]


def test_a_seed_is_a_run_and_workers_differ():
  def rollout(count, seed):
    env, rng = make(count, seed, time_limit=20), np.random.default_rng(1)
    found = [env.reset()['tiles']]
    for _ in range(50):
      found.append(step(env, *rng.integers(0, 7, 2)[:count])['tiles'])
    return np.stack(found)

  one = rollout(2, 0)
  np.testing.assert_array_equal(one, rollout(2, 0))
  assert (one != rollout(2, 1)).any()
  assert (one[:, 0] != one[:, 1]).any()


def test_names():
  env = make(task='BabyAI-GoToRedBall-v0')
  assert env.reset()['tiles'].shape == (1, 49 * (KINDS + COLOURS + STATES))
  with pytest.raises(UserError, match="Did you mean 'DoorKey-6x6'"):
    make(task='DoorKey-6x66')
  with pytest.raises(UserError, match=r"config.env.minigrid.task = 'x'"):
    make(task='x')
