"""Tasks of dm_control against dm_control itself."""

import functools
import sys

import numpy as np
import pytest
from gymnasium import spaces

from dreamer_nnx import envs, streams
from dreamer_nnx.envs import dmc, dmc_tasks, single
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV
from dreamer_nnx.streams import Stream

suite = pytest.importorskip('dm_control.suite', reason='the extra dmc')
engine = pytest.importorskip('dm_control.mujoco.engine')
FLAGS = ('reward', 'is_first', 'is_last', 'is_terminal')
W = 2


@pytest.fixture
def drawing():
  """For tests that draw: only where MuJoCo can do so without a display."""
  pytest.importorskip('mujoco.egl', reason='no EGL', exc_type=Exception)


@pytest.fixture
def no_drawing(monkeypatch):
  def refuse(*args, **kwargs):
    raise AssertionError('drawn')

  monkeypatch.setattr(engine.Camera, '__init__', refuse)


@pytest.fixture
def drawn(monkeypatch):
  """Sides and cameras of the pictures drawn, in a list."""
  calls, draw = [], engine.Physics.render

  def counted(physics, height, width, camera_id):
    calls.append((height, width, camera_id))
    return draw(physics, height, width, camera_id=camera_id)

  monkeypatch.setattr(engine.Physics, 'render', counted)
  return calls


@pytest.fixture
def make():
  """Makes environments that are closed in the end."""
  made = []

  def build(task, *, num_envs=W, seed=0, **fields):
    choice = Choice(ENV, 'dmc', task=task, **fields)
    made.append(envs.make_vector_env(choice, num_envs, seed))
    return made[-1]

  yield build
  for env in made:
    env.close()


def single_env(task, **options):
  """Environment 0 of a task with all its wrappers, from state alone."""
  chosen = single.Options(**options)
  maker = dmc.Maker(task, True, False, (8, 8), -1, False, 0, chosen)
  return single.Wrapped(maker, single.Options(), 'config.env.test')(0)


def reset_seed(index, seed=0):
  return streams.seed(seed, Stream.RESET, index)


def loaded(domain, task, index=0):
  """The environment of dm_control that begins as number `index` of ours."""
  return suite.load(domain, task, task_kwargs={'random': reset_seed(index)})


def actions(env, steps):
  rng = np.random.default_rng(0)
  shape = (steps, env.num_envs, *env.action_space['action'].shape)
  return rng.uniform(-1, 1, shape).astype(np.float32)


def test_every_task_of_the_suite_has_its_name():
  names = dmc_tasks.names_of_suite()
  for domain, task in suite.ALL_TASKS:
    assert names[f'{domain}_{task}'] == (domain, task)
  assert len(suite.BENCHMARKING) == 28
  assert names['cup_catch'] == names['ball_in_cup_catch']
  assert names['humanoid_CMU_run'] == ('humanoid_CMU', 'run')
  assert len(names) == len(suite.ALL_TASKS) + 1


@pytest.mark.parametrize('task', ['ball_in_cup_catch', 'point_mass_easy'])
def test_domains_of_several_words_load(task, make):
  domain, _, name = task.rpartition('_')
  first = make(task, num_envs=1).reset()
  want = loaded(domain, name).reset().observation
  assert first.keys() - {*FLAGS} == want.keys()
  for key, value in want.items():
    np.testing.assert_array_equal(first[key][0], np.float32(value))


def test_a_short_name_is_the_same_task(make):
  long, short = (
    make(x, num_envs=1) for x in ('ball_in_cup_catch', 'cup_catch')
  )
  np.testing.assert_array_equal(
    long.reset()['position'], short.reset()['position']
  )


@pytest.mark.parametrize(
  ('task', 'hint'),
  [
    ('walker_wlk', "Did you mean 'walker_walk'?"),
    ('humanoid_cmu_run', "Did you mean 'humanoid_CMU_run'?"),
    ('manip_lift_bric', "Did you mean 'manip_lift_brick_"),
    ('rodent_run_gap', "Did you mean 'rodent_run_gaps'?"),
    ('xyzzy', 'Names are like walker_walk;'),
  ],
)
def test_unknown_tasks_are_named_with_one_that_is_close(task, hint, make):
  with pytest.raises(UserError) as caught:
    make(task)
  beginning = f'config.env.dmc.task = {task!r}: dm_control has no such task. '
  assert str(caught.value).startswith(beginning)
  assert hint in str(caught.value)


@pytest.mark.parametrize('repeat', [1, 3])
def test_steps_are_those_of_dm_control(repeat, make):
  env = make('walker_walk', repeat=repeat)
  natives = [loaded('walker', 'walk', index) for index in range(W)]
  env.reset()
  assert env.repeat == repeat
  for native in natives:
    native.reset()
  for action in actions(env, 20):
    step = env.step({'action': action})
    for index, native in enumerate(natives):
      results = [native.step(action[index]) for _ in range(repeat)]
      total = sum(result.reward for result in results)
      assert step['reward'][index] == pytest.approx(total, rel=1e-6)
      for key, value in results[-1].observation.items():
        np.testing.assert_array_equal(step[key][index], np.float32(value))
    assert not step['is_last'].any()


def test_actions_are_rescaled_to_the_bounds_of_the_task(make, monkeypatch):
  env = make('quadruped_walk', num_envs=1)
  assert env.action_space['action'] == spaces.Box(-1, 1, (12,), np.float32)
  native = loaded('quadruped', 'walk')
  native.reset(), env.reset()
  spec = native.action_spec()
  assert spec.minimum[2] == -0.8 and spec.maximum[1] == 1.1
  received = []
  step = suite.quadruped.Physics.set_control

  def noted(physics, control):
    received.append(np.array(control))
    step(physics, control)

  monkeypatch.setattr(suite.quadruped.Physics, 'set_control', noted)
  for value in (-1.0, 1.0, 3.0):
    env.step({'action': np.full((1, 12), value, np.float32)})
  for got, want in zip(
    received, (spec.minimum, spec.maximum, spec.maximum), strict=True
  ):
    np.testing.assert_array_equal(got, want)


def test_controls_without_limits_are_passed_on():
  env = single_env('lqr_lqr_2_1')
  env.reset(seed=0)
  native = env.unwrapped.dm_env
  assert native.action_spec().maximum == 1e10
  env.step(*env.interface.native_actions({'action': np.float32([[0.25]])}))
  assert native.physics.control() == 0.25


def test_an_episode_of_the_suite_is_cut_off_after_1000_steps(make):
  env = make('cartpole_balance', repeat=4)
  steps = [env.reset()]
  zero = {'action': np.zeros((W, 1), np.float32)}
  steps += [env.step(zero) for _ in range(251)]
  flags = {k: np.array([step[k][0] for step in steps]) for k in FLAGS}
  assert np.flatnonzero(flags['is_last']).tolist() == [250]
  assert np.flatnonzero(flags['is_first']).tolist() == [0, 251]
  assert not flags['is_terminal'].any()
  assert flags['reward'][251] == 0


def test_a_repeated_action_stops_at_the_end(make):
  env = make('cartpole_balance', num_envs=1, repeat=7, time_limit=10)
  native = loaded('cartpole', 'balance')
  native.reset(), env.reset()
  zero = {'action': np.zeros((1, 1), np.float32)}
  for count in (7, 3):
    step = env.step(zero)
    want = sum(native.step([0.0]).reward for _ in range(count))
    assert step['reward'][0] == pytest.approx(want, rel=1e-6)
    assert step['is_last'][0] == (count == 3) and not step['is_terminal'][0]
  assert env.step(zero)['is_first'][0]


def test_lqr_is_over_when_its_masses_rest():
  env = single_env('lqr_lqr_2_1')
  env.reset(seed=0)
  (idle,) = env.interface.native_actions({'action': np.zeros((1, 1))})
  assert env.step(idle)[2:4] == (False, False)
  with (physics := env.unwrapped.dm_env.physics).reset_context():
    physics.data.qpos[:] = physics.data.qvel[:] = 0
  assert env.step(idle)[2:4] == (True, False)


def test_environments_are_seeded_each_by_its_own(make):
  env, again, other = (make('walker_walk', seed=x) for x in (0, 0, 1))
  first = env.reset()['orientations']
  np.testing.assert_array_equal(first, again.reset()['orientations'])
  assert (first != other.reset()['orientations']).any(1).all()
  assert (first[0] != first[1]).any()
  env.step({'action': np.ones((W, 6), np.float32)})
  np.testing.assert_array_equal(first, env.reset()['orientations'])


def test_rodents_draw_nothing_that_others_draw(make):
  rewards = []
  for other in (1, 2):
    np.random.seed(other)
    before = np.random.get_state()[1].tolist()
    env = make('rodent_two_touch', num_envs=1)
    env.reset()
    shape = env.action_space['action'].shape
    step = env.step({'action': np.zeros((1, *shape), np.float32)})
    rewards.append(step['reward'])
    assert np.random.get_state()[1].tolist() == before
  np.testing.assert_array_equal(*rewards)


def test_a_maze_of_rodents_is_that_of_its_seed():
  mazes = []
  for seed, other in ((1, 1), (1, 2), (2, 2)):
    np.random.seed(other)
    options = {'cameras': False, 'pixels': False, 'fast': False, 'size': (8, 8)}
    env = dmc_tasks.load('rodent_maze_forage', seed, '', **options).env
    env.reset()
    mazes.append(str(env.task.root_entity.maze.entity_layer))
  assert mazes[0] == mazes[1] != mazes[2]


@pytest.mark.parametrize(
  'task', ['walker_walk', 'manip_reach_site', 'rodent_escape_bowl']
)
def test_nothing_is_drawn_unless_pixels_are_observed(task, make, no_drawing):
  env = make(task, num_envs=1)
  env.reset()
  shape = env.action_space['action'].shape
  step = env.step({'action': np.zeros((1, *shape), np.float32)})
  assert all(len(x.shape) < 3 for x in env.obs_space.values())
  names = ' '.join(step)
  assert '/' not in names and 'camera' not in names


def test_pixels_are_those_of_dm_control(make, drawing, drawn):
  env = make('walker_walk', num_envs=1, pixels=True, size=(24, 32), repeat=3)
  native = loaded('walker', 'walk')
  native.reset()
  assert env.obs_space['image'] == spaces.Box(0, 255, (24, 32, 3), np.uint8)
  assert env.obs_space['velocity'].shape == (9,)
  drawn.clear()
  first = env.reset()['image'][0]
  want = functools.partial(native.physics.render, 24, 32, camera_id=0)
  np.testing.assert_array_equal(first, want())
  (action,) = actions(env, 1)
  image = env.step({'action': action})['image'][0]
  for _ in range(3):
    native.step(action[0])
  np.testing.assert_array_equal(image, want())
  assert (image != first).any()
  # Two by this test, one by a reset, one by a step of three.
  assert len(drawn) == 4


@pytest.mark.parametrize(
  'task', ['walker_walk', 'manip_reach_site', 'rodent_escape_bowl']
)
def test_pictures_may_be_larger_than_the_model_has_room_for(
  task, make, drawing
):
  for size in ((700, 8), (8, 700)):
    env = make(task, num_envs=1, pixels=True, proprio=False, size=size)
    for _ in range(2):
      image = env.reset()['image']
    assert image.shape == (1, *size, 3) and image.std() > 0


def test_a_drawing_may_be_larger_than_the_model_has_room_for(make, drawing):
  env = make('cartpole_balance', num_envs=1, render=True, size=(500, 8))
  assert env.obs_space['image'].shape == (500, 8, 3)


@pytest.mark.parametrize(
  ('size', 'text'),
  [
    ((8,), 'size = .*: must have at least 2 elements'),
    ((8, 8, 3), r'dmc\.size = \(8, 8, 3\): must be \(height, width\)'),
    ((8, 5000), 'size = .*: must be at least 1 and at most 4096'),
  ],
)
def test_sizes_that_are_none_are_refused(size, text, make):
  with pytest.raises(UserError, match=text):
    make('cartpole_balance', pixels=True, size=size)


def test_a_wrong_value_is_not_taken_for_a_lack_of_drivers(make, monkeypatch):
  def refuse(*args, **kwargs):
    raise ValueError('a plane is flat')

  monkeypatch.setattr(engine.Physics, 'render', refuse)
  with pytest.raises(UserError, match='ValueError: a plane is flat') as caught:
    make('cartpole_balance', pixels=True)
  assert "task = 'cartpole_balance': " in str(caught.value)
  assert 'MUJOCO_GL' not in str(caught.value)


def test_pixels_may_be_all_that_is_observed(make, drawing):
  env = make('cartpole_swingup', num_envs=1, pixels=True, proprio=False)
  assert list(env.obs_space) == ['image']
  assert env.reset().keys() == {'image', *FLAGS}


def test_cameras_are_those_of_the_domain(make, drawing, drawn):
  fields = {'num_envs': 1, 'pixels': True, 'size': (8, 8)}
  make('cheetah_run', **fields).reset()
  make('quadruped_walk', **fields).reset()
  make('cheetah_run', **fields, camera=1).reset()
  assert drawn == [(8, 8, 0)] * 2 + [(8, 8, 2)] * 2 + [(8, 8, 1)] * 2


def test_fast_pictures_are_nearly_the_same(make, drawing):
  fields = {'num_envs': 1, 'pixels': True}
  slow = make('walker_walk', **fields).reset()['image'].astype(float)
  env = make('walker_walk', **fields, render_quality='fast')
  assert 0 < np.abs(env.reset()['image'] - slow).mean() < 0.5


def test_a_drawing_is_that_of_the_camera(make, drawing, drawn):
  env = make('walker_walk', num_envs=1, render=True)
  assert env.obs_space['image'].shape == (64, 64, 3)
  with pytest.raises(
    UserError, match="there is an observation 'image' already"
  ):
    make('walker_walk', num_envs=1, render=True, pixels=True)


def test_workers_draw_in_processes_of_their_own(make, drawing):
  fields = {'pixels': True, 'size': (16, 16), 'num_envs': 1}
  here = make('cartpole_swingup', **fields)
  there = make('cartpole_swingup', **fields, workers='async')
  np.testing.assert_array_equal(here.reset()['image'], there.reset()['image'])


def test_fields_that_do_not_fit_are_refused(make, drawing):
  with pytest.raises(
    UserError, match='nothing is observed: set proprio or pix'
  ):
    make('walker_walk', proprio=False)
  with pytest.raises(UserError, match='camera = 2: walker_walk has 2 cameras'):
    make('walker_walk', camera=2, pixels=True)


def test_where_it_cannot_draw_it_says_what_to_do(make, monkeypatch):
  def refuse(*args, **kwargs):
    raise RuntimeError('no context')

  monkeypatch.setattr(engine.Physics, 'render', refuse)
  monkeypatch.delenv('MUJOCO_GL', raising=False)
  with pytest.raises(UserError) as caught:
    make('walker_walk', pixels=True)
  text = str(caught.value)
  assert text.startswith("config.env.dmc.task = 'walker_walk': MuJoCo cannot")
  assert 'RuntimeError: no context' in text and 'it is not set' in text
  assert 'egl without a display' in text and 'libegl1' in text


@pytest.mark.parametrize('error', [ImportError, AttributeError, RuntimeError])
def test_where_it_does_not_import_it_says_how_to_draw(error, monkeypatch):
  class Broken:
    def find_spec(self, name, *_):
      if name == 'dm_control.manipulation':
        raise error('no EGL')

  monkeypatch.setenv('MUJOCO_GL', 'egl')
  monkeypatch.setattr(sys, 'meta_path', [Broken(), *sys.meta_path])
  monkeypatch.delitem(sys.modules, 'dm_control.manipulation', raising=False)
  with pytest.raises(UserError, match=r"no EGL.*MUJOCO_GL, here it is 'egl'"):
    dmc_tasks.load_module('dm_control.manipulation')


def test_without_the_package_it_says_how_to_install_it(monkeypatch, make):
  monkeypatch.setitem(dmc.packages.NEEDED, 'dmc', ('nothing-of-the-kind>=1',))
  with pytest.raises(
    UserError, match="'dmc' needs: pip install nothing-of-the"
  ):
    make('walker_walk')
