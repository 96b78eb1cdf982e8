"""Crafter itself: achievements, death, time limit, seeds and the score."""

import json
import math

import numpy as np
import pytest

from dreamer_nnx import config as configs
from dreamer_nnx import env_check, envs, workflow
from dreamer_nnx.envs.crafter import Unlocks, read, reproducible, score
from dreamer_nnx.envs.wrapped import WrappedVectorEnv
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV
from dreamer_nnx.training import processes
from dreamer_nnx.training.summaries import merged

library = pytest.importorskip('crafter')
pytest.importorskip('numba')
ACTIONS = {name: i for i, name in enumerate(library.constants.actions)}
NOOP, SAPLING = ACTIONS['noop'], 'log/achievement_collect_sapling'


def make(count=1, seed=0, **fields):
  choice = Choice(ENV, 'crafter', **fields)
  return envs.make_vector_env(choice, count, seed, results=True)


@pytest.fixture
def players(monkeypatch):
  """The players of all episodes that begin, in order."""
  found = []

  class Player(library.objects.Player):
    def __init__(self, *arguments):
      super().__init__(*arguments)
      found.append(self)

  monkeypatch.setattr(library.objects, 'Player', Player)
  return found


def take(env, *names):
  return [env.step({'action': np.array([ACTIONS[x]])}) for x in names]


def facing(player, material, direction=(0, 1)):
  """Turns a player, and puts a material in front."""
  player.facing = direction
  player.world[player.pos + np.array(direction)] = material


def test_spaces_and_images():
  env = make(image_size=(32, 48))
  first = env.reset()
  assert first['image'].shape == (1, 32, 48, 3)
  assert set(env.obs_space) == {'image'}
  assert env.action_space['action'].n == 17
  logged = [k for k in first if k.startswith('log/achievement_')]
  assert len(logged) == 22
  assert make().reset()['image'].shape == (1, 64, 64, 3)


@pytest.mark.parametrize('task', ['reward', 'noreward'])
def test_unlocks_are_rewarded_once_and_logged(task, players):
  env = make(task=task)
  env.reset()
  (player,) = players
  player.inventory.update(wood=9, sapling=0)
  facing(player, 'grass')
  (table,) = take(env, 'place_table')
  facing(player, 'tree', (1, 0))
  (wood,) = take(env, 'do')
  facing(player, 'tree', (1, 0))
  (again,) = take(env, 'do')
  (pickaxe,) = take(env, 'make_wood_pickaxe')
  steps = table, wood, again, pickaxe
  logged = [float(x['log/reward'][0]) for x in steps]
  assert logged == [1, 1, 0, 1]
  given = [float(x['reward'][0]) for x in steps]
  assert given == (logged if task == 'reward' else [0, 0, 0, 0])
  count = lambda step, name: step[f'log/achievement_{name}'][0]
  assert [count(x, 'collect_wood') for x in steps] == [0, 1, 2, 2]
  assert count(table, 'place_table') == count(pickaxe, 'place_table') == 1
  assert count(pickaxe, 'make_wood_pickaxe') == 1
  assert count(pickaxe, 'collect_diamond') == 0


def test_death_is_terminal_and_the_time_limit_is_not(players):
  env = make(time_limit=4)
  steps = [env.reset()]
  players[0].inventory['health'] = 0
  steps += take(env, *['noop'] * 7)
  flags = lambda key: [bool(x[key][0]) for x in steps]
  first, last = flags('is_first'), flags('is_last')
  assert first == [True, False, True, False, False, False, False, True]
  assert last == [False, True, False, False, False, False, True, False]
  assert flags('is_terminal') == [False, True] + [False] * 6
  assert steps[2]['reward'] == 0 and len(players) == 3


def test_its_own_time_limit_is_no_death(monkeypatch):
  env = make()
  monkeypatch.setattr(library.Env.__init__, '__defaults__', short_limit())
  env.reset()
  last = take(env, 'noop', 'noop', 'noop')[-1]
  assert last['is_last'][0] and not last['is_terminal'][0]


def short_limit():
  """Defaults of Crafter's constructor with 3 steps in place of 10,000."""
  defaults = library.Env.__init__.__defaults__
  assert defaults.count(10_000) == 1
  return tuple(3 if x == 10_000 else x for x in defaults)


def rollout(count, seed, steps, **fields):
  env = make(count, seed, **fields)
  rng = np.random.default_rng(1)
  found = [env.reset()['image']]
  for _ in range(steps):
    action = rng.integers(0, 17, 2)[:count]
    found.append(env.step({'action': action})['image'])
  return np.stack(found)


def test_a_seed_is_a_run_and_workers_and_episodes_differ():
  one = rollout(2, 0, 30, time_limit=20)
  np.testing.assert_array_equal(one, rollout(2, 0, 30, time_limit=20))
  assert (one[0, 0] != one[0, 1]).any()
  assert (one[0, 0] != one[21, 0]).any()
  assert (one[0, 0] != rollout(1, 1, 0)[0, 0]).any()


def test_creatures_are_in_an_order_that_is_always_the_same():
  # By their addresses a run would go other ways after some hundred steps.
  reproducible(library)
  area = np.stack(np.meshgrid(range(9), range(9)), -1).reshape(-1, 2)

  def order():
    world = library.engine.World((9, 9), library.constants.materials, (9, 9))
    cows = [library.objects.Cow(world, place) for place in area]
    for cow in cows:
      world.add(cow)
    world.remove(cows[40])
    (found,) = world.chunks.values()
    return cows, [cow.pos.tolist() for cow in found]

  # Both are kept, so that their addresses differ.
  (one, first), (two, second) = order(), order()
  assert first == second and len(first) == len(one) - 1 == len(two) - 1


def test_the_score_by_hand():
  assert score([0, 0]) == 0
  assert score([100, 100]) == pytest.approx(100)
  assert score([10, 0]) == pytest.approx(math.sqrt(11) - 1)
  unlocks = Unlocks()
  assert unlocks.metrics() == {}
  unlocks.add({'a': 3, 'b': 0})
  unlocks.add({'a': 0, 'b': 0})
  assert unlocks.metrics() == {
    'crafter/score': pytest.approx(math.sqrt(51) - 1),
    'crafter/episodes': 2,
    'crafter/success/a': 50,
    'crafter/success/b': 0,
  }


def test_episodes_are_written_and_a_later_run_counts_them(players, tmp_path):
  results = str(tmp_path / 'results')
  env = make(results=results, time_limit=2)
  assert env.stats() == {'env/restarts': 0}
  env.reset()
  facing(players[0], 'grass')
  players[0].inventory['sapling'] = 1
  take(env, 'place_plant', *['noop'] * 4)
  stats = env.stats()
  assert stats['crafter/episodes'] == 2
  assert stats['crafter/success/place_plant'] == 50
  assert stats['crafter/score'] == pytest.approx(51 ** (1 / 22) - 1)
  lines = (tmp_path / 'results' / 'stats.jsonl').read_text().splitlines()
  found = [json.loads(line) for line in lines]
  assert [x['episode'] for x in found] == [1, 2]
  assert [x['length'] for x in found] == [2, 2]
  assert [x['reward'] for x in found] == [1, 0]
  assert [x['achievement_place_plant'] for x in found] == [1, 0]
  assert len(found[0]) == 3 + 22
  later = make(results=results, time_limit=2)
  later.reset()
  assert later.stats() == stats
  take(later, 'noop', 'noop')
  assert later.stats()['crafter/episodes'] == 3


def lines_of(folder):
  file = folder / 'stats.jsonl'
  return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize('task', ['reward', 'noreward'])
def test_repeated_actions_add_up(task, players, tmp_path):
  env = make(task=task, repeat=4, time_limit=6, results=str(tmp_path))
  first = env.reset()
  facing(players[0], 'grass')
  players[0].inventory['sapling'] = 1
  # It is hurt in the game's second step.
  hurt = players[0].update
  moves = iter([lambda: None, lambda: setattr(players[0], 'health', 7)])
  players[0].update = lambda: (hurt(), next(moves, lambda: None)())
  steps = [first, *take(env, 'place_plant', 'noop', 'noop', 'noop')]
  logged = [float(x['log/reward'][0]) for x in steps]
  assert logged == pytest.approx([0, 0.8, 0, 0, 0])
  given = [float(x['reward'][0]) for x in steps]
  assert given == pytest.approx(logged if task == 'reward' else [0] * 5)
  assert [x['is_last'][0] for x in steps] == [False, False, True, False, False]
  (line,) = lines_of(tmp_path)
  assert (line['length'], line['reward']) == (6, 0.8)
  take(env, 'noop')
  assert [x['reward'] for x in lines_of(tmp_path)] == [0.8, 0]
  logged = {key for key in first if key.startswith('log/')}
  assert {x for x in logged if 'achievement' not in x} == {'log/reward'}


def test_rewards_of_an_episode_that_a_fault_cuts_count_once(
  players, monkeypatch
):
  env = make()
  env.reset()
  facing(players[0], 'grass')
  players[0].inventory['sapling'] = 1
  (planted,) = take(env, 'place_plant')
  monkeypatch.setattr(library.Env, 'step', lambda *_: 1 / 0)
  (cut,) = take(env, 'noop')
  assert planted['log/reward'][0] == 1
  assert env.cut[0] and cut['log/reward'][0] == cut['reward'][0] == 0
  assert take(env, 'noop')[0]['log/reward'][0] == 0


@pytest.mark.parametrize('end', ['{"episode": 3, "len', '{', ''])
def test_a_line_that_was_not_written_to_its_end_is_cut_off(end, tmp_path):
  env = make(results=str(tmp_path), time_limit=1)
  env.reset()
  take(env, *['noop'] * 3)
  file = tmp_path / 'stats.jsonl'
  text = file.read_text()
  # Without `end` there is a whole line but for its last character.
  file.write_text(f'{text}{end}' if end else text.removesuffix('\n'))
  later = make(results=str(tmp_path), time_limit=1)
  later.reset()
  assert file.read_text() == text
  assert later.stats()['crafter/episodes'] == 2
  take(later, 'noop')
  assert [x['episode'] for x in lines_of(tmp_path)] == [1, 2, 3]
  later.reset()
  assert later.stats()['crafter/episodes'] == 3


def test_the_score_of_several_processes_is_that_of_all_episodes():
  whole, parts = Unlocks(), [Unlocks(), Unlocks(), Unlocks()]
  for part, count, unlocked in ((0, 100, 1), (1, 1, 0)):
    for _ in range(count):
      found = {'a': unlocked, 'b': 1 - unlocked, 'c': 0}
      parts[part].add(found)
      whole.add(found)
  # Whatever is around them.
  env = WrappedVectorEnv(make())
  logged = [x.metrics() | {'rate/updates': 5.0} for x in parts]
  expected = whole.metrics() | {'rate/updates': 5.0}
  assert merged(logged, env) == pytest.approx(expected)
  assert merged([{}, {}], env) == {}


def test_each_process_has_a_file_of_its_own(tmp_path, monkeypatch):
  config = configs.base()
  config.env.name = 'crafter'
  config.env.crafter.results = str(tmp_path)
  config.env.crafter.time_limit = 1
  config.train.envs = 2
  found = []
  for _ in range(2):
    for index in range(2):
      monkeypatch.setattr(processes, 'index', lambda index=index: index)
      monkeypatch.setattr(processes, 'count', lambda: 2)
      env = workflow.make_envs(config)
      env.reset()
      take(env, *['noop'] * 3)
      found.append(env.stats())
  assert [x['crafter/episodes'] for x in found] == [2, 2, 4, 4]
  assert len(lines_of(tmp_path)) == len(lines_of(tmp_path / 'process-1')) == 4


def test_what_does_not_train_leaves_the_results_alone(tmp_path):
  config = configs.base()
  config.env.name = 'crafter'
  config.env.crafter.results = str(tmp_path)
  config.env.crafter.time_limit = 2
  trial = env_check.tried(configs.bind_all(config), 8)
  assert not trial.errors and trial.account.ends
  envs.make_vector_env(configs.bind_all(config)['env'], 1, 0).close()
  assert not list(tmp_path.iterdir())


def test_evaluations_leave_the_results_of_training_alone(tmp_path):
  config = configs.base()
  config.env.name = 'crafter'
  config.env.crafter.results = str(tmp_path)
  config.env.crafter.time_limit = 1
  config.evaluate.envs = 2
  env = workflow.make_eval_envs(config)
  env.reset()
  env.step({'action': np.array([NOOP, NOOP])})
  assert not list(tmp_path.iterdir())
  assert workflow.env_metrics(env)['crafter/episodes'] == 2
  assert 'env/restarts' not in workflow.env_metrics(env)
  env.reset()
  assert workflow.env_metrics(env) == {}


def test_results_that_are_not_of_crafter_are_refused(tmp_path):
  file = tmp_path / 'stats.jsonl'
  for text in ('{"length": 3}', '[1]', 'words', '{"len\n', '\xff'):
    file.write_text(text, 'latin-1')
    with pytest.raises(UserError, match='line 1 is not of an episode'):
      read(file)
    place = r'config\.env\.crafter\.results = .*stats\.jsonl.: line 1 is not'
    with pytest.raises(UserError, match=place):
      make(results=str(tmp_path))
    assert file.read_text('latin-1') == text
  blocked = tmp_path / 'file'
  blocked.write_text('')
  with pytest.raises(UserError, match=r'config.env.crafter.results = '):
    make(results=str(blocked))
  with pytest.raises(UserError, match='must be a local folder'):
    make(results='gs://bucket/results')


@pytest.mark.parametrize('size', [(8, 8), (17, 64), (64, 17)])
def test_images_that_it_cannot_draw_are_refused(size):
  message = r'config\.env\.crafter\.image_size = .*at least 18 x 18 pixels'
  with pytest.raises(UserError, match=message):
    make(image_size=size)
  assert make(image_size=(18, 18)).reset()['image'].shape == (1, 18, 18, 3)


def test_an_unknown_task_is_refused():
  with pytest.raises(ValueError, match=r"config.env.crafter.task = 'x'"):
    make(task='x')
