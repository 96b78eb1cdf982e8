"""bsuite itself: every experiment, ends, seeds, and its own records."""

import csv

import numpy as np
import pytest

from dreamer_nnx import config as configs
from dreamer_nnx import env_check, envs, show, streams
from dreamer_nnx.envs.bsuite import Experiments, load
from dreamer_nnx.envs.games import GameVectorEnv
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV
from dreamer_nnx.streams import Stream

sweep = pytest.importorskip('bsuite.sweep')
library = pytest.importorskip('bsuite.bsuite')
NAMES = sorted({x.partition('/')[0] for x in sweep.SETTINGS})
PLAYED = [name for name in NAMES if not name.startswith('mnist')]
# These draw nothing but what the seed of their setting says.
FIXED = {'bandit', 'bandit_scale', 'deep_sea', 'discounting_chain'}


def make(count=1, seed=0, **fields):
  choice = Choice(ENV, 'bsuite', **fields)
  return envs.make_vector_env(choice, count, seed, results=True)


def rollout(env, steps, seed=0):
  rng = np.random.default_rng(seed)
  count = env.action_space['action'].n
  found = [env.reset()]
  for _ in range(steps):
    action = rng.integers(0, count, env.num_envs)
    found.append(env.step({'action': action}))
  return {key: np.stack([x[key] for x in found]) for key in found[0]}


@pytest.mark.parametrize('name', PLAYED)
def test_every_experiment_goes_as_in_the_package(name):
  env = make(2, task=name)
  seeds = [streams.seed(0, Stream.RESET, index) for index in range(2)]
  theirs = [load(library, f'{name}/0', seed) for seed in seeds]
  assert type(theirs[0]) is type(library.load_from_id(f'{name}/0'))
  times, step = [x.reset() for x in theirs], env.reset()
  rng = np.random.default_rng(0)
  for _ in range(60):
    for index, time in enumerate(times):
      seen, last = step['vector'][index], time.last()
      assert seen in env.obs_space['vector']
      np.testing.assert_array_equal(seen, np.ravel(time.observation))
      assert step['reward'][index] == np.float32(time.reward or 0)
      assert step['is_first'][index] == time.first()
      assert step['is_last'][index] == last
      assert step['is_terminal'][index] == (last and time.discount == 0)
    action = rng.integers(0, env.action_space['action'].n, 2)
    # They begin episodes anew by themselves.
    times = [x.step(y) for x, y in zip(theirs, action, strict=True)]
    step = env.step({'action': action})
  assert env.episodes == theirs[0].bsuite_num_episodes


class Cut:
  """An experiment whose third step is a last one, with discount 1."""

  def __init__(self):
    self.env, self.time = load(library, 'catch/0', 0), 0

  def reset(self):
    self.time = 0
    return self.env.reset()

  def step(self, action):
    self.time += 1
    time = self.env.step(action)
    return time._replace(step_type=type(time.step_type)(1 + self.time // 3))


def test_an_end_with_a_discount_is_not_terminal():
  sample = load(library, 'catch/0', 0)
  env = GameVectorEnv(Experiments(sample, lambda seed: Cut(), (1, 2)), '')
  steps = [env.reset(), *(env.step({'action': np.ones(2, int)}) for _ in '123')]
  assert [x['is_last'].tolist() for x in steps[2:]] == [[False] * 2, [True] * 2]
  assert not steps[-1]['is_terminal'].any()
  assert env.step({'action': np.ones(2, int)})['is_first'].all()


def test_flags_of_two_episodes_of_catch():
  env = make(2)
  steps = rollout(env, 20)
  assert steps['vector'].shape == (21, 2, 50)
  assert steps['vector'].dtype == np.float32
  last = np.zeros((21, 2), bool)
  last[[9, 19]] = True
  np.testing.assert_array_equal(steps['is_last'], last)
  np.testing.assert_array_equal(steps['is_terminal'], last)
  np.testing.assert_array_equal(steps['is_first'][1:], last[:-1])
  np.testing.assert_array_equal(np.abs(steps['reward']), last)
  assert env.episodes == 10_000


@pytest.mark.parametrize('name', ['catch_noise', 'memory_len', 'cartpole'])
def test_a_seed_is_a_run_and_workers_differ(name):
  one, two = (rollout(make(2, task=name), 60) for _ in range(2))
  other = rollout(make(2, seed=1, task=name), 60)
  for key in one:
    np.testing.assert_array_equal(one[key], two[key])
  different = lambda a, b: any((a[key] != b[key]).any() for key in a)
  assert different(one, other)
  sides = [{k: v[:, i] for k, v in one.items()} for i in (0, 1)]
  assert different(*sides)


def test_seeds_matter_wherever_something_is_drawn():
  pairs = {
    name: [load(library, f'{name}/0', seed) for seed in (1, 2)]
    for name in PLAYED
  }
  assert {name for name, pair in pairs.items() if same(*pair)} == FIXED


def same(one, two):
  rng = np.random.default_rng(0)
  count = one.action_spec().num_values
  if not np.array_equal(one.reset().observation, two.reset().observation):
    return False
  for _ in range(80):
    action = rng.integers(0, count)
    a, b = one.step(action), two.step(action)
    if a.reward != b.reward or not np.array_equal(a.observation, b.observation):
      return False
  return True


def test_records_are_those_of_the_package(tmp_path):
  results = str(tmp_path / 'results')
  env = make(results=results)
  steps = rollout(env, 40)
  (file,) = (tmp_path / 'results').iterdir()
  assert file.name == 'bsuite_id_-_catch-0.csv'
  rows = list(csv.DictReader(file.open()))
  assert [int(x['episode']) for x in rows] == [1, 2, 3, 4]
  assert [int(x['steps']) for x in rows] == [9, 18, 27, 36]
  returns = steps['reward'][steps['is_last']]
  assert [float(x['episode_return']) for x in rows] == returns.tolist()
  regret = float(rows[-1]['total_regret'])
  assert regret == (1 - returns).sum()
  with pytest.raises(UserError, match='is there already, and bsuite cannot'):
    make(results=results)
  make(results=results, task='catch/1').close()


def test_what_does_not_train_leaves_the_records_alone(tmp_path):
  config = configs.base('1m')
  config.env.name = 'bsuite'
  config.env.bsuite.results = str(tmp_path)
  assert not env_check.tried(configs.bind_all(config), 30).errors
  rollout(make(results=str(tmp_path)), 20)
  (file,) = tmp_path.iterdir()
  before = file.read_bytes()
  assert not env_check.tried(configs.bind_all(config), 30).errors
  assert 'Parameters' in show.describe(config)
  assert [*tmp_path.iterdir()] == [file] and file.read_bytes() == before


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'task': ''}, r"bsuite\.task = ''"),
    ({'task': '/0'}, r"bsuite\.task = '/0'"),
    ({'task': 'catsh'}, "task = 'catsh': .* Did you mean 'catch/0'"),
    ({'task': 'mnist'}, "task = 'mnist': it downloads data"),
    ({'task': 'mnist/3'}, "task = 'mnist/3': it downloads data"),
    ({'task': 'mnist_noise'}, 'it downloads data'),
    ({'task': 'catsh/0'}, "no such task. Did you mean 'catch/0'"),
    ({'task': 'catch/20'}, 'no such task'),
    ({'results': 'gs://bucket/x'}, 'must be a local folder'),
  ],
)
def test_what_is_not_there_is_refused(fields, message):
  with pytest.raises(UserError, match=message):
    make(**fields)


def test_a_folder_that_cannot_be_is_refused(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(UserError, match=r'bsuite\.results = .*Not a directory'):
    make(results=str(tmp_path / 'file' / 'results'))


def test_records_are_of_one_environment(tmp_path):
  with pytest.raises(UserError, match=r'set config\.train\.envs to 1'):
    make(2, results=str(tmp_path))
