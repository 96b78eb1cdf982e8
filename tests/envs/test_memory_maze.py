"""Memory Maze, whose package asks for `gym`."""

import sys

import numpy as np
import pytest
from gymnasium import spaces

from dreamer_nnx import envs
from dreamer_nnx.envs import memory_maze, old_gym
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV

engine = pytest.importorskip(
  'dm_control.mujoco.engine', reason='the extra memory-maze'
)
# Without an alias of `gym` it does not import.
with old_gym.replaced():
  tasks = pytest.importorskip(
    'memory_maze.tasks', reason='the extra memory-maze'
  )
DRAWS = {'reason': 'no EGL', 'exc_type': Exception}


@pytest.fixture
def make():
  """Makes environments if MuJoCo can draw here."""
  pytest.importorskip('mujoco.egl', **DRAWS)
  made = []

  def build(seed=0, num_envs=1, **fields):
    choice = Choice(ENV, 'memory_maze', **fields)
    made.append(envs.make_vector_env(choice, num_envs, seed))
    return made[-1]

  yield build
  for env in made:
    env.close()


@pytest.mark.parametrize('terminal', [False, True])
def test_a_time_limit_is_terminal_only_if_it_is_told_to_be(
  make, terminal, monkeypatch
):
  env = make(limit_terminal=terminal)
  assert env.obs_space == {'image': spaces.Box(0, 255, (64, 64, 3), np.uint8)}
  assert env.action_space == {'action': spaces.Discrete(6)}
  assert 'gym' not in sys.modules
  idle = {'action': np.zeros(1, np.int32)}
  steps = [env.reset(), env.step(idle)]
  with monkeypatch.context() as late:
    late.setattr(engine.Physics, 'time', lambda _: 250.0)
    steps.append(env.step(idle))
  steps.append(env.step(idle))
  run = {key: np.concatenate([x[key] for x in steps]) for key in steps[0]}
  np.testing.assert_array_equal(run['is_first'], [1, 0, 0, 1])
  np.testing.assert_array_equal(run['is_last'], [0, 0, 1, 0])
  np.testing.assert_array_equal(run['is_terminal'], [0, 0, terminal, 0])
  # The next episode is another maze.
  assert (run['image'][-1] != run['image'][0]).any()


@pytest.mark.whole
def test_mazes_are_seeded_each_by_its_own(make):
  first, other = make(num_envs=2).reset()['image']
  np.testing.assert_array_equal(first, make().reset()['image'][0])
  assert (first != other).any()


@pytest.mark.whole
def test_a_seed_is_of_the_mazes_and_another_one_follows_a_crash(
  make, monkeypatch
):
  env = make()
  idle = {'action': np.zeros(1, np.int32)}
  play = lambda: [env.reset()['image'], env.step(idle)['image']]
  first = play()
  np.testing.assert_array_equal(first, play())
  with monkeypatch.context() as broken:
    broken.setattr(engine.Physics, 'time', lambda _: 1 / 0)
    assert env.step(idle)['is_last'][0]
  assert (env.step(idle)['image'] != first[0]).any()
  np.testing.assert_array_equal(first, play())


def test_a_shorter_limit_counts_as_its_own(make):
  env = make(limit_terminal=True, time_limit=1)
  env.reset()
  step = env.step({'action': np.zeros(1, np.int32)})
  assert step['is_last'][0] and step['is_terminal'][0]


def test_what_stood_for_gym_comes_back(monkeypatch):
  mine = object()
  monkeypatch.setitem(sys.modules, 'gym', mine)
  with pytest.raises(KeyError), old_gym.replaced():
    assert sys.modules['gym'] is sys.modules['gymnasium']
    raise KeyError
  assert sys.modules['gym'] is mine
  assert 'gym.spaces' not in sys.modules


def test_where_it_cannot_draw_it_says_what_to_do(monkeypatch):
  def refuse(**_):
    raise RuntimeError('no context')

  monkeypatch.setattr(tasks, 'memory_maze_11x11', refuse)
  with pytest.raises(
    UserError, match=r'MuJoCo cannot draw .RuntimeError: no c'
  ):
    envs.make_vector_env(Choice(ENV, 'memory_maze', task='11x11'), 1, 0)


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
  needed = memory_maze.packages.NEEDED
  monkeypatch.setitem(needed, 'memory-maze', ('nothing-of-the-kind>=1',))
  with pytest.raises(UserError, match="'memory_maze' needs: pip install not"):
    envs.make_vector_env(Choice(ENV, 'memory_maze'), 1, 0)
