"""`procgen` beside envpool, and over games like those of the package."""

import importlib
import importlib.metadata
import sys
import types

import gymnasium
import numpy as np
import pytest

from dreamer_nnx import envs, streams
from dreamer_nnx.envs import old_gym
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV
from dreamer_nnx.streams import Stream

NOTHING = 4


@pytest.fixture(scope='module')
def envpool():
  reason = 'the extra procgen and the libraries of Qt'
  pytest.importorskip('envpool.procgen', reason=reason, exc_type=ImportError)
  return pytest.importorskip('envpool')


def make(num_envs=2, seed=0, **fields):
  return envs.make_vector_env(Choice(ENV, 'procgen', **fields), num_envs, seed)


def play(actions, *, num_envs=2, seed=0, **fields):
  env = make(num_envs, seed, **fields)
  found = [env.reset()]
  found += [env.step({'action': np.full(num_envs, x)}) for x in actions]
  again = env.reset()['image']
  np.testing.assert_array_equal(again, found[0]['image'])
  env.close()
  return {k: np.stack([step[k] for step in found]) for k in found[0]}


def test_games_are_those_of_the_package(envpool):
  # Mostly to the right, which ends some day.
  actions = np.random.default_rng(0).choice([7, 7, 8], 200)
  run = play(actions, task='coinrun')
  seeds = [streams.seed(0, Stream.RESET, i) for i in range(2)]
  pool = envpool.make_gymnasium(
    'CoinrunHard-v0', num_envs=2, seed=seeds, channel_first=False
  )
  np.testing.assert_array_equal(run['image'][0], pool.reset()[0])
  for step, action in enumerate(actions, 1):
    seen, reward, over, cut, info = pool.step(np.full(2, action, np.int32))
    np.testing.assert_array_equal(run['image'][step], seen)
    np.testing.assert_array_equal(run['reward'][step], reward)
    np.testing.assert_array_equal(run['is_terminal'][step], over)
    np.testing.assert_array_equal(run['is_last'][step], over | cut)
    np.testing.assert_array_equal(
      run['is_first'][step], info['elapsed_step'] == 0
    )
  assert run['is_last'].any()
  np.testing.assert_array_equal(run['is_first'][1:], run['is_last'][:-1])


@pytest.mark.parametrize('terminal', [False, True])
def test_a_time_limit_is_terminal_only_if_asked_to(envpool, terminal):
  run = play([NOTHING] * 502, task='leaper', limit_terminal=terminal)
  assert np.flatnonzero(run['is_last'][:, 0]).tolist() == [500]
  assert run['is_terminal'][500].tolist() == [terminal] * 2
  assert run['is_first'][501].all()


def test_runs_repeat_by_seed_and_levels_are_counted(envpool):
  fields = {'task': 'maze', 'num_envs': 3}
  run, same, other = (play([1], seed=x, **fields)['image'] for x in (0, 0, 1))
  np.testing.assert_array_equal(run, same)
  assert (run != other).any()
  assert (run[:, 0] != run[:, 1]).any()
  one = play([1], num_levels=1, start_level=7, **fields)['image']
  assert (one[0] == one[0, :1]).all()


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    (
      {'task': 'bigfish', 'distribution_mode': 'memory'},
      "distribution_mode = 'memory': bigfish has no such levels, but easy, ha",
    ),
    ({'size': (96, 96)}, r'size = \(96, 96\): envpool draws 64, 64 alone'),
    ({'size': (9, 9, 9)}, r'size = \(9, 9, 9\): must be \(height, width\)'),
    (
      {'distribution_mode': 'exploration', 'num_levels': 5},
      'num_levels = 5: must be 0, for exploration is one level',
    ),
    ({'task': 'coin'}, "task = 'coin': must be one of .* Did you mean 'coinr"),
  ],
)
def test_fields_that_do_not_fit(fields, message):
  with pytest.raises(UserError, match=message):
    make(**fields)


def test_missing_libraries_of_qt_are_named_with_their_command(monkeypatch):
  def make_gymnasium(name, **options):
    raise ImportError('libQt5Gui.so.5: cannot open shared object file')

  package = types.ModuleType('envpool')
  package.make_gymnasium = make_gymnasium
  monkeypatch.setattr(importlib.metadata, 'version', lambda name: '1.2.5')
  monkeypatch.setitem(sys.modules, 'envpool', package)
  with pytest.raises(UserError) as caught:
    make()
  assert 'needs: apt-get install -y --no-install-recommends libqt5core5a' in (
    str(caught.value)
  )
  assert 'libQt5Gui.so.5' in str(caught.value)


class Level:
  """A game of three steps as the package has it: the next begins at once."""

  made = ()

  def __init__(self, **options):
    Level.made = (*Level.made, options)
    self.seed, self.time, self.first = options['rand_seed'], 0, True
    self.reward = 0.0

  def act(self, actions):
    self.reward = float(actions[0])
    self.time, self.first = self.time + 1, False
    if self.time == 3:
      self.seed, self.time, self.first = self.seed + 1, 0, True

  def observe(self):
    image = np.full((1, 64, 64, 3), (self.seed + 10 * self.time) % 256)
    seen = {'rgb': image.astype(np.uint8)}
    return np.array([self.reward]), seen, np.array([self.first])

  def get_info(self):
    return [{'rgb': np.full((512, 512, 3), self.time, np.uint8)}]

  def close(self):
    pass


@pytest.fixture
def levels(monkeypatch):
  package = types.ModuleType('procgen')
  package.ProcgenGym3Env = Level
  monkeypatch.setitem(sys.modules, 'procgen', package)
  monkeypatch.setattr(Level, 'made', ())


def test_the_other_package_keeps_the_order_of_episodes(levels):
  run = play([5, 6, 7, 8, 9], backend='procgen', num_envs=1)
  seed = streams.seed(0, Stream.RESET, 0)
  assert run['is_first'][:, 0].tolist() == [1, 0, 0, 0, 1, 0]
  assert run['is_last'][:, 0].tolist() == [0, 0, 0, 1, 0, 0]
  # The action of the step that begins anew, 8, is not taken.
  assert run['reward'][:, 0].tolist() == [0, 5, 6, 7, 0, 9]
  shown = [seed, seed + 10, seed + 20, seed + 20, seed + 1, seed + 11]
  assert run['image'][:, 0, 0, 0, 0].tolist() == [x % 256 for x in shown]
  assert run['is_terminal'][3, 0]


def test_the_other_package_scales_its_drawing(levels):
  run = play([1, 2], backend='procgen', size=(96, 80), distribution_mode='easy')
  assert run['image'].shape == (3, 2, 96, 80, 3)
  assert run['image'][:, 0, 0, 0, 0].tolist() == [0, 1, 2]
  options = Level.made[0]
  assert options['render_mode'] == 'rgb_array'
  assert options['distribution_mode'] == 'easy'
  assert (options['num_levels'], options['start_level']) == (0, 0)


def test_the_other_package_has_one_level_to_explore(levels):
  mode = {'distribution_mode': 'exploration'}
  play([1], backend='procgen', **mode)
  options = Level.made[0]
  assert options['distribution_mode'] == 'exploration'
  assert not {'num_levels', 'start_level'} & options.keys()


@pytest.mark.parametrize('size', [(64, 64), (96, 96)])
def test_the_other_package_itself(size):
  with old_gym.replaced():
    pytest.importorskip('procgen', reason='procgen-mirror')
  run = play(
    [NOTHING] * 502, backend='procgen', task='leaper', size=size, num_envs=1
  )
  assert run['is_last'].sum() == 1
  assert run['is_last'][500, 0] and not run['is_terminal'].any()
  assert run['is_first'][501, 0]


def test_the_other_package_is_installed_by_two_commands(monkeypatch):
  monkeypatch.setitem(sys.modules, 'procgen', None)
  with pytest.raises(UserError, match='--no-deps procgen-mirror gym3 && pip'):
    make(backend='procgen').reset()


def test_gymnasium_stands_for_gym_only_in_the_imports(monkeypatch):
  other = types.ModuleType('gym')
  monkeypatch.setitem(sys.modules, 'gym', other)
  monkeypatch.delitem(sys.modules, 'gym.spaces', raising=False)
  with old_gym.replaced():
    assert importlib.import_module('gym') is gymnasium
    assert importlib.import_module('gym.spaces') is gymnasium.spaces
  assert sys.modules['gym'] is other
  assert 'gym.spaces' not in sys.modules
