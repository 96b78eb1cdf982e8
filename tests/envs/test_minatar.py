"""`minatar` beside the package itself."""

import numpy as np
import pytest

from dreamer_nnx import envs, streams
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV
from dreamer_nnx.streams import Stream

TASKS = ('asterix', 'breakout', 'freeway', 'seaquest', 'space_invaders')


@pytest.fixture(scope='module')
def minatar():
  return pytest.importorskip('minatar', reason='the extra minatar')


def make(num_envs=2, seed=0, **fields):
  return envs.make_vector_env(Choice(ENV, 'minatar', **fields), num_envs, seed)


def play(steps=200, *, num_envs=2, seed=0, **fields):
  env = make(num_envs, seed, **fields)
  count = env.action_space['action'].n
  draws = np.random.default_rng(0).integers(0, count, (steps, num_envs))
  found = [env.reset()] + [env.step({'action': x}) for x in draws]
  return draws, {k: np.stack([step[k] for step in found]) for k in found[0]}


def package(minatar, task, actions, seed, ramping=True):
  """Yields (cells, reward, over); the step after the last begins anew."""
  game = minatar.Environment(task, 0.1, ramping)
  game.seed(seed)
  game.reset()
  over = False
  yield game.state(), 0, over
  for action in actions:
    reward = 0
    if over:
      game.reset()
      over = False
    else:
      reward, over = game.act(action)
    yield game.state(), reward, over


@pytest.mark.parametrize('task', TASKS)
def test_games_are_those_of_the_package(minatar, task):
  draws, run = play(task=task, scale=1, steps=300)
  for index in range(2):
    seed = streams.seed(0, Stream.RESET, index)
    wanted = package(minatar, task, draws[:, index], seed)
    for step, (cells, reward, over) in enumerate(wanted):
      np.testing.assert_array_equal(run['image'][step, index], cells * 255)
      assert run['reward'][step, index] == reward
      assert run['is_terminal'][step, index] == over
  np.testing.assert_array_equal(run['is_first'][1:], run['is_last'][:-1])
  np.testing.assert_array_equal(run['is_terminal'], run['is_last'])
  if task != 'freeway':
    assert run['is_last'].any()


def test_cells_are_pixels_or_numbers(minatar):
  _, small = play(scale=1)
  _, large = play(scale=3)
  _, flat = play(form='vector')
  want = np.kron(small['image'], np.ones((1, 1, 3, 3, 1), np.uint8))
  np.testing.assert_array_equal(large['image'], want)
  numbers = small['image'].reshape(201, 2, -1) // 255
  np.testing.assert_array_equal(flat['vector'], numbers.astype(np.float32))
  assert make().obs_space['image'].shape == (80, 80, 4)
  assert make(form='vector').obs_space['vector'].shape == (400,)


def test_a_limit_cuts_episodes_off(minatar):
  _, run = play(task='freeway', length=7, steps=20)
  assert np.flatnonzero(run['is_last'][:, 0]).tolist() == [7, 15]
  assert np.flatnonzero(run['is_first'][:, 0]).tolist() == [0, 8, 16]
  assert not run['is_terminal'].any()


def test_runs_repeat_by_seed_and_workers_differ(minatar):
  run, same, other = (
    play(task='freeway', steps=9, seed=x)[1]['image'] for x in (0, 0, 1)
  )
  np.testing.assert_array_equal(run, same)
  assert (run != other).any()
  assert (run[:, 0] != run[:, 1]).any()
  env = make(task='freeway')
  first = env.reset()['image']
  env.step({'action': np.array([2, 2])})
  np.testing.assert_array_equal(env.reset()['image'], first)


def test_actions_stick_and_are_those_needed(minatar):
  # With a probability of 1 nothing but the first action, none, is taken.
  still = make(task='breakout', sticky=1.0, scale=1)
  moves = make(task='breakout', sticky=0.0, scale=1, actions='needed')
  assert moves.action_space['action'].n == 3
  for env, moved in ((still, 0), (moves, 1)):
    paddle = env.reset()['image'][..., 0].argmax(-1).max(1)
    right = 3 if env is still else 2
    after = env.step({'action': np.array([right] * 2)})['image']
    assert (after[..., 0].argmax(-1).max(1) == paddle + moved).all()


def test_games_become_harder_only_if_asked_to(minatar):
  _, ramping = play(task='asterix', steps=300, scale=1)
  draws, level = play(task='asterix', steps=300, scale=1, ramping=False)
  assert (ramping['image'] != level['image']).any()
  seed = streams.seed(0, Stream.RESET, 0)
  wanted = package(minatar, 'asterix', draws[:, 0], seed, ramping=False)
  for step, (cells, _, _) in enumerate(wanted):
    np.testing.assert_array_equal(level['image'][step, 0], cells * 255)
