"""From a config to environments: gymnasium ids, own functions, errors."""

import sys

import numpy as np
import pytest
from gymnasium import spaces

from dreamer_nnx import UserError, contracts, envs, workflow
from dreamer_nnx import config as configs
from dreamer_nnx.registry import Choice, RegistryError
from dreamer_nnx.slots import ENV
from dreamer_nnx.training import processes
from tests.envs import games


def make(name, num_envs=2, **fields):
  return envs.make_vector_env(Choice(ENV, name, **fields), num_envs, 0)


def walk(env, steps=30):
  """Random steps; every one must be of its space."""
  rng, history = np.random.default_rng(0), [env.reset()]
  for space in env.action_space.values():
    space.seed(0)
  for _ in range(steps):
    action = {
      key: np.stack([space.sample() for _ in range(env.num_envs)])
      for key, space in env.action_space.items()
    }
    history.append(env.step(action))
  for step in history:
    for key, space in env.obs_space.items():
      index = rng.integers(env.num_envs)
      assert space.contains(step[key][index].astype(space.dtype))
  env.close()
  return {k: np.stack([step[k] for step in history]) for k in history[0]}


def test_cartpole():
  run = walk(make('gymnasium', num_envs=3), 60)
  assert run['vector'].shape == (61, 3, 4)
  assert run['vector'].dtype == np.float32
  on = ~run['is_first']
  np.testing.assert_array_equal(run['reward'], on)
  np.testing.assert_array_equal(run['is_first'][1:], run['is_last'][:-1])
  assert run['is_last'].any() and run['is_first'][0].all()
  np.testing.assert_array_equal(run['is_terminal'], run['is_last'])


def test_pendulum_takes_its_torque_from_minus_one_to_one():
  env = make('gymnasium', id='Pendulum-v1')
  assert env.action_space['action'] == spaces.Box(-1, 1, (1,), np.float32)
  start = env.reset()['vector']
  torque = np.array([[1.0], [-0.5]], np.float32)
  step = env.step({'action': torque})
  # The costs of gymnasium's pendulum: angle, speed, and torque in [-2, 2].
  angle = np.arctan2(start[:, 1], start[:, 0])
  cost = angle**2 + 0.1 * start[:, 2] ** 2 + 0.001 * (2 * torque[:, 0]) ** 2
  # The observation that the angle is taken from is rounded to float32.
  np.testing.assert_allclose(step['reward'], -cost, rtol=1e-4)
  env.close()


@pytest.mark.parametrize(
  'id, keys, action',
  [
    ('FrozenLake-v1', {'vector': 16}, 4),
    ('Taxi-v4', {'vector': 500}, 6),
    ('Blackjack-v1', {'vector/0': 32, 'vector/1': 11, 'vector/2': 2}, 2),
  ],
)
def test_toy_text(id, keys, action):
  env = make('gymnasium', id=id)
  assert {k: v.n for k, v in env.obs_space.items()} == keys
  assert env.action_space['action'].n == action
  run = walk(env)
  assert all(run[key].dtype == np.int32 for key in keys)


def test_arguments_reach_the_environment():
  fields = {'id': 'FrozenLake-v1', 'arguments': ('is_slippery=False',)}
  env = make('gymnasium', **fields)
  env.reset()
  # Without slipping two steps down and one right end on field 9.
  for action in (1, 1, 2):
    step = env.step({'action': np.array([action, action])})
  assert step['vector'].tolist() == [9, 9]
  env.close()


def test_time_limit_replaces_that_of_the_registry():
  run = walk(make('gymnasium', id='Pendulum-v1', time_limit=5), 12)
  assert run['is_last'][:, 0].tolist() == ([0] * 5 + [1]) * 2 + [0]
  assert not run['is_terminal'].any()


def test_rendered_cartpole():
  fields = {'render': True, 'image_size': (16, 24)}
  run = walk(make('gymnasium', num_envs=1, **fields), 2)
  assert run['image'].shape == (3, 1, 16, 24, 3)
  assert len(np.unique(run['image'])) > 3


@pytest.mark.parametrize('workers', ['sync', 'async'])
def test_own_functions(workers):
  function = 'tests.envs.games:counter'
  both = [
    make('custom', make=function, workers=workers),
    make('gymnasium', id=function, workers=workers),
  ]
  for env in both:
    assert isinstance(env, contracts.VectorEnv)
    run = walk(env, 4)
    assert run['is_last'][:, 0].tolist() == [0, 0, 0, 1, 0]


def test_a_function_is_told_seed_and_index():
  create = envs.single.Maker(games.Mixed, {}, 3)
  told = [create(index).seed_and_index for index in range(3)]
  assert [index for _, index in told] == [0, 1, 2]
  assert len({seed for seed, _ in told}) == 3
  assert told == [create(index).seed_and_index for index in range(3)]


MADE = []


def numbered(*, seed: int = 0, index: int = -1) -> games.Counter:
  MADE.append((seed, index))
  return games.Counter()


@pytest.mark.parametrize(
  ('name', 'fields'),
  [
    ('custom', {'make': f'{__name__}:numbered'}),
    ('gymnasium', {'id': f'{__name__}:numbered'}),
  ],
)
def test_arguments_take_the_place_of_seed_and_index(name, fields):
  def told(*arguments):
    MADE.clear()
    env = make(name, arguments=arguments, **fields)
    env.reset(), env.close()
    return list(MADE)

  (one, first), (other, second) = told()
  assert one != other and (first, second) == (0, 1)
  assert told('seed=3') == [(3, 0), (3, 1)]
  assert told('seed=3', 'index=5') == [(3, 5), (3, 5)]


def test_a_field_of_the_name_index_is_given_unless_it_is_set():
  def told(**fields):
    MADE.clear()
    choice = Choice(ENV, f'{__name__}:numbered', **fields)
    env = envs.make_vector_env(choice, 2, 0)
    env.reset(), env.close()
    return [index for _, index in MADE]

  assert told() == [0, 1]
  assert told(index=5) == [5, 5]


def test_results_are_of_the_environments_that_are_trained_in(
  tmp_path, monkeypatch
):
  folder = tmp_path / 'results'
  choice = Choice(ENV, 'tests.envs.games:noted', results=str(folder))
  parts = configs.Bound(configs.bind_all(configs.base()) | {'env': choice})
  envs.make_vector_env(choice, 1, 0).close()
  workflow.make_eval_envs(parts).close()
  assert not folder.exists()
  workflow.make_envs(parts).close()
  assert folder.exists() and not list(folder.iterdir())
  monkeypatch.setattr(processes, 'index', lambda: 3)
  workflow.make_envs(parts).close()
  assert [x.name for x in folder.iterdir()] == ['process-3']


def test_a_function_of_one_environment_is_a_name():
  name = 'tests.envs.games:fails'
  env = envs.make_vector_env(Choice(ENV, name, fail_at=2), 2, 0)
  env.reset()
  env.step({'action': np.array([1, 2])})
  step = env.step({'action': np.array([1, 2])})
  assert step['is_last'].all() and not step['is_terminal'].any()
  assert env.stats() == {'env/restarts': 2.0}
  env.close()
  with pytest.raises(RegistryError, match=r"fail_att: .*mean 'fail_at'"):
    envs.make_vector_env(Choice(ENV, name, fail_att=2), 2, 0)


@pytest.mark.parametrize(
  'name, fields, kind, message',
  [
    (
      'gymnasium',
      {'id': 'CartPol-v1'},
      ValueError,
      r"config.env.gymnasium.id = 'CartPol-v1': no environment has this id. "
      r"Did you mean 'CartPole-v1'\?",
    ),
    (
      'gymnasium',
      {'id': 'Zzzzzzzz-v0'},
      ValueError,
      'no environment has this id. If another package registers it, write',
    ),
    (
      'gymnasium',
      {'id': 'no_such_package:Some-v0'},
      ValueError,
      "id = 'no_such_package:Some-v0': there is no module 'no_such_package'",
    ),
    (
      'gymnasium',
      {'arguments': ('render_fps',)},
      ValueError,
      "config.env.gymnasium.arguments: 'render_fps' is not 'name=value'",
    ),
    (
      'gymnasium',
      {'arguments': ('gravitation=3',)},
      ValueError,
      r"^config.env.gymnasium.id = 'CartPole-v1': \w+.__init__\(\) .*gravit",
    ),
    (
      'gymnasium',
      {'id': ':CartPole-v1'},
      UserError,
      "id = ':CartPole-v1': '' is not the name of a module",
    ),
    (
      'custom',
      {'make': '.games:make'},
      UserError,
      "make = '.games:make': '.games' is not the name of a module",
    ),
    (
      'gymnasium',
      {'workers': 'threads'},
      ValueError,
      "config.env.gymnasium.workers = 'threads': must be one of 'sync', 'asy",
    ),
    (
      'gymnasium',
      {'repeat': 0},
      ValueError,
      'config.env.gymnasium.repeat = 0: must be at least 1',
    ),
    (
      'gymnasium',
      {'image_size': (64,)},
      ValueError,
      r'config.env.gymnasium.image_size = \(64,\): must be \(height, width',
    ),
    (
      'custom',
      {},
      ValueError,
      "config.env.custom.make = '': must be 'package.module:attribute'",
    ),
    (
      'custom',
      {'make': 'tests.envs.games:nothing'},
      ValueError,
      "tests.envs.games has no 'nothing'",
    ),
    (
      'custom',
      {'make': 'tests.envs.nowhere:make'},
      ValueError,
      "there is no module 'tests.envs.nowhere'",
    ),
    (
      'custom',
      {'make': 'tests.envs.games:__doc__'},
      UserError,
      'it cannot be called',
    ),
    (
      'custom',
      {'make': 'tests.envs.games:number'},
      UserError,
      'config.env.custom.make = .*: it made a int, not a gymnasium.Env',
    ),
    (
      'custom',
      {'make': 'tests.envs.games:text'},
      UserError,
      "config.env.custom.make = .*: 'words': it is a Text space",
    ),
  ],
)
def test_errors(name, fields, kind, message):
  with pytest.raises(kind, match=message):
    make(name, **fields)


LARGE = 2**31


@pytest.mark.parametrize(
  'name, field, value',
  [
    ('atari', 'size', (96, 5000)),
    ('atari', 'repeat', LARGE),
    ('atari', 'noops', LARGE),
    ('atari', 'length', LARGE),
    ('atari', 'threads', 10**6),
    ('catch', 'size', 10**6),
    ('gymnasium', 'image_size', (5000, 64)),
    ('minatar', 'scale', 10**5),
    ('pinpad', 'length', LARGE),
    ('procgen', 'num_levels', LARGE),
    ('procgen', 'size', (5000, 64)),
    ('procgen', 'start_level', LARGE),
    ('procgen', 'threads', 10**6),
    ('track', 'length', LARGE),
    ('track', 'size', 10**6),
  ],
)
def test_numbers_that_games_cannot_take_are_refused(name, field, value):
  message = rf'config\.env\.{name}\.{field} = .*: must be .* and at most \d+\.'
  with pytest.raises(UserError, match=message):
    make(name, **{field: value})


@pytest.mark.parametrize(
  'module, fields, extra',
  [
    ('Box2D', {'id': 'LunarLander-v3'}, r'dreamer-nnx\[box2d\]'),
    ('pygame', {'render': True}, r'dreamer-nnx\[classic\]'),
  ],
)
def test_missing_packages_are_named_with_their_extra(
  monkeypatch, module, fields, extra
):
  for name in [n for n in sys.modules if n.startswith('gymnasium.envs.box2d')]:
    monkeypatch.delitem(sys.modules, name)
  monkeypatch.setitem(sys.modules, module, None)
  message = f'not installed .* Install it: pip install .{extra}'
  with pytest.raises(ValueError, match=message):
    make('gymnasium', **fields)


def test_at_least_one_environment():
  with pytest.raises(ValueError, match=r'config.env: 0 environments: at least'):
    make('track', num_envs=0)


def test_single_environments_that_do_not_start_say_why():
  message = r'config.env.custom.make = .*: ImportError: no module of the sim'
  with pytest.raises(envs.EnvError, match=message):
    make('custom', make='tests.envs.games:absent')


def test_a_module_is_imported_before_its_id_is_looked_up(monkeypatch, tmp_path):
  (tmp_path / 'third_party.py').write_text(
    'import gymnasium\n'
    'from tests.envs.games import Counter\n'
    'def made(size=2, words=()):\n'
    '  env = Counter(length=size)\n'
    '  env.words = words\n'
    '  return env\n'
    'gymnasium.register("Third-v0", Counter, max_episode_steps=2)\n'
    'gymnasium.register("party/Third-v1", Counter, max_episode_steps=2)\n'
  )
  monkeypatch.syspath_prepend(tmp_path)
  make = lambda **fields: envs.make_vector_env(
    Choice(ENV, 'gymnasium', **fields), 1, 0
  )
  step = {'action': np.zeros(1, np.int32)}
  for id in ('Third-v0', 'party/Third-v1', 'made'):
    env = make(id=f'third_party:{id}')
    env.reset()
    lasts = [env.step(step)['is_last'].item() for _ in range(3)]
    assert lasts == [False, True, False]
    env.close()
  message = (
    "no id 'Thrid-v0' is registered once 'third_party' is imported, and the "
    "module has no function 'Thrid-v0' .*Did you mean 'Third-v0'"
  )
  with pytest.raises(UserError, match=message):
    make(id='third_party:Thrid-v0')


def test_a_registered_id_wins_over_an_attribute(monkeypatch, tmp_path):
  (tmp_path / 'both_ways.py').write_text(
    'import gymnasium\n'
    'from tests.envs.games import Counter\n'
    'def Both():\n'
    '  raise OSError("the attribute")\n'
    'gymnasium.register("Both", Counter, max_episode_steps=2)\n'
  )
  monkeypatch.syspath_prepend(tmp_path)
  env = envs.make_vector_env(
    Choice(ENV, 'gymnasium', id='both_ways:Both'), 1, 0
  )
  env.reset()
  env.close()


def test_custom_takes_arguments():
  fields = {'make': 'tests.envs.games:fails', 'arguments': ('fail_at=1',)}
  env = envs.make_vector_env(Choice(ENV, 'custom', **fields), 1, 0)
  env.reset()
  with pytest.raises(envs.EnvError, match='the physics broke'):
    env.step({'action': np.zeros(1, np.int32)})
  env.close()
  with pytest.raises(UserError, match=r"custom\.arguments: '3' is n"):
    envs.make_vector_env(
      Choice(ENV, 'custom', **fields | {'arguments': ('3',)}), 1, 0
    )


def test_values_may_have_commas():
  map_of = ('desc=["SF", "HG"]', 'is_slippery=False')
  fields = {'id': 'FrozenLake-v1', 'arguments': map_of}
  env = envs.make_vector_env(Choice(ENV, 'gymnasium', **fields), 1, 0)
  assert env.obs_space['vector'].n == 4
  env.close()


@pytest.mark.parametrize('id', ['CartPole-v1', 'Pendulum-v1'])
def test_an_image_size_without_an_image_is_refused(id):
  fields = {'id': id, 'image_size': (64, 64)}
  message = 'id = .*: image_size = .64, 64.: there is no image .* set render'
  with pytest.raises(UserError, match=message):
    envs.make_vector_env(Choice(ENV, 'gymnasium', **fields), 1, 0)


def test_what_making_one_raises_has_its_place_once():
  with pytest.raises(UserError, match='unexpected keyword') as caught:
    make('gymnasium', id='CartPole-v1', arguments=('nope=3',))
  assert str(caught.value).count('config.env.gymnasium.id') == 1
