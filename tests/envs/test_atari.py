"""`atari` beside the plain emulator, stepped as the benchmark says."""

import importlib.metadata

import numpy as np
import pytest

from dreamer_nnx import envs, notices
from dreamer_nnx.envs import EnvError
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import ENV

RAW = (210, 160)
# Names of the benchmark of 57 games, as results are published under.
GAMES = (
  'alien amidar assault asterix asteroids atlantis bank_heist battle_zone '
  'beam_rider berzerk bowling boxing breakout centipede chopper_command '
  'crazy_climber defender demon_attack double_dunk enduro fishing_derby '
  'freeway frostbite gopher gravitar hero ice_hockey james_bond kangaroo '
  'krull kung_fu_master montezuma_revenge ms_pacman name_this_game phoenix '
  'pitfall pong private_eye qbert riverraid road_runner robotank seaquest '
  'skiing solaris space_invaders star_gunner surround tennis time_pilot '
  'tutankham up_n_down venture video_pinball wizard_of_wor yars_revenge '
  'zaxxon '
)
UP = 2


@pytest.fixture(scope='module')
def ale():
  return pytest.importorskip('ale_py', reason='the extra atari')


def make(num_envs=1, seed=0, **fields):
  return envs.make_vector_env(Choice(ENV, 'atari', **fields), num_envs, seed)


def play(actions, *, num_envs=1, seed=0, **fields):
  """All steps of a run, (T, W, ...) by key."""
  env = make(num_envs, seed, **fields)
  found = [env.reset()]
  for action in actions:
    found.append(env.step({'action': np.full(num_envs, action)}))
  env.close()
  return {k: np.stack([step[k] for step in found]) for k in found[0]}


def emulator(ale, game):
  from ale_py import roms

  console = ale.ALEInterface()
  console.setLoggerMode(ale.LoggerMode.Error)
  console.setFloat('repeat_action_probability', 0.0)
  console.loadROM(roms.get_rom_path(game))
  console.reset_game()
  return console


def plain(ale, game, actions, screen):
  """Yields (image, reward, last) by the rules of the benchmark.

  Act four times and look at the last two frames, whose maximum is the image.
  The step after the last of an episode ignores its action and begins anew. In
  one thing these are the rules of ale-py: it does not look once a game is over,
  so that frames of the step before remain.
  """
  console = emulator(ale, game)
  image, last = screen(console), False
  yield image, 0.0, last
  for action in actions:
    reward, frames = 0.0, []
    if last:
      console.reset_game()
      frames, last = [screen(console)], False
    else:
      for turn in range(4):
        reward += console.act(int(action))
        last = console.game_over()
        if last:
          frames.append(image)
          break
        if turn >= 2:
          frames.append(screen(console))
    image = np.max(frames, 0)
    yield image, reward, last


def overlaps(pixels, size):
  """Shares (size, pixels) of pixels in the cells of a coarser line."""
  edges = np.arange(size + 1) * pixels / size
  starts = np.arange(pixels)
  ends = np.minimum(edges[1:, None], starts + 1)
  covered = np.clip(ends - np.maximum(edges[:-1, None], starts), 0, None)
  return covered / covered.sum(1, keepdims=True)


def scaled(image, size):
  """Means of areas of (H, W, C) images."""
  rows, columns = (overlaps(*x) for x in zip(RAW, size, strict=True))
  mean = rows @ np.moveaxis(image.astype(float), -1, 0) @ columns.T
  return np.rint(np.moveaxis(mean, 0, -1))


@pytest.mark.parametrize(
  ('size', 'gray'), [(RAW, False), (RAW, True), ((64, 64), False)]
)
def test_frames_are_those_of_the_rules_across_episodes(ale, size, gray):
  def screen(console):
    if gray:
      return console.getScreenGrayscale().reshape(*RAW, 1)
    return console.getScreenRGB()

  # FIRE, LEFT and RIGHT, at random.
  actions = np.random.default_rng(0).choice([1, 1, 3, 4], 300)
  run = play(
    actions, task='breakout', size=size, gray=gray, sticky=0.0, noops=0
  )
  lasts = 0
  for step, want in enumerate(plain(ale, 'breakout', actions, screen)):
    image, reward, last = want
    assert run['reward'][step] == reward
    assert run['is_last'][step] == run['is_terminal'][step] == last
    lasts += last
    got = run['image'][step, 0].astype(int)
    if size == RAW:
      assert (got == image).all(), step
    elif last or step % 10 == 0:
      # Halves may be rounded to either side.
      off = np.abs(got - scaled(image, size))
      assert off.max() <= 1 and off.mean() < 0.005, step
  assert lasts >= 1


def kept_still(episodes, **fields):
  """Share of the episodes in which one frame of UP is not obeyed."""
  moves = [0] * 5 + [UP] + [0] * 5
  fields = {'task': 'freeway', 'size': RAW, 'noops': 0, 'repeat': 1} | fields
  fields = {'pooling': 1} | fields
  still = play([0] * len(moves), **fields | {'sticky': 0.0})
  # The action behind each episode is that of its end.
  run = play([*moves, 0] * episodes, length=len(moves), seed=3, **fields)
  # The last image but one, for there is no new one at the end.
  ends = run['image'][:-1][run['is_last'][1:]]
  assert len(ends) == episodes
  return (ends == still['image'][-2]).all((1, 2, 3)).mean()


@pytest.mark.parametrize(
  ('fields', 'share'),
  [
    ({'sticky': 0.0}, 0.0),
    pytest.param({'sticky': 0.25}, 0.25, marks=pytest.mark.whole),
    ({'sticky': 0.6}, 0.6),
    ({'sticky': 0.0, 'reference': True}, 0.25),
  ],
)
def test_an_action_sticks_with_its_probability(ale, fields, share):
  bound = 3 * np.sqrt(share * (1 - share) / 120)  # three standard errors
  assert kept_still(120, **fields) == pytest.approx(share, abs=bound)


def test_episodes_begin_with_up_to_so_many_frames_without_an_action(ale):
  console = emulator(ale, 'freeway')
  screens = []
  for _ in range(8):
    screens.append(console.getScreenRGB())
    console.act(0)
  fields = {'task': 'freeway', 'size': RAW, 'gray': False, 'sticky': 0.0}
  # Episodes of one frame.
  once = {'length': 1, 'repeat': 1, 'pooling': 1}
  run = play([0] * 179, noops=5, **once, **fields)
  images = run['image'][run['is_first']]
  counts = [(images == x).all((1, 2, 3)).sum() for x in screens]
  assert sum(counts) == 90
  assert counts[6:] == [0, 0]
  # 15 of each are expected, give or take 3.5.
  assert min(counts[:6]) >= 5
  first = make(noops=0, **fields).reset()['image']
  assert (first == screens[0]).all()


@pytest.mark.parametrize('length', [40, 38])
def test_a_time_limit_is_no_terminal_step(ale, length):
  fields = {'task': 'breakout', 'size': (16, 16), 'length': length}
  run = play([0] * 15, **fields)
  assert np.flatnonzero(run['is_last'][:, 0]).tolist() == [10]
  assert np.flatnonzero(run['is_first'][:, 0]).tolist() == [0, 11]
  assert not run['is_terminal'].any()
  run = play([0] * 15, **fields, reference=True)
  np.testing.assert_array_equal(run['is_terminal'], run['is_last'])
  assert run['is_last'].sum() == 1


def test_the_step_after_the_last_begins_anew_whatever_its_action(ale):
  fields = {'task': 'breakout', 'size': (16, 16), 'sticky': 0.0, 'noops': 0}
  actions = np.random.default_rng(0).choice([1, 3, 4], 250)
  run = play(actions, **fields)
  last = int(np.flatnonzero(run['is_last'][:, 0])[0])
  assert run['is_terminal'][last, 0]
  first = run['is_first'][:, 0]
  np.testing.assert_array_equal(first[1:], run['is_last'][:-1, 0])
  assert first[0]
  assert run['reward'][last + 1, 0] == 0
  np.testing.assert_array_equal(run['image'][last + 1], run['image'][0])
  # Action t leads to step t + 1.
  other = actions.copy()
  other[last] = 1 if actions[last] != 1 else 3
  again = play(other, **fields)
  for key in run:
    np.testing.assert_array_equal(again[key], run[key])


def test_runs_repeat_by_seed_and_workers_differ(ale):
  fields = {'task': 'freeway', 'size': (32, 32), 'num_envs': 2}
  run, same, other = (
    play([UP] * 20, seed=seed, **fields)['image'] for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(run, same)
  assert (run[:, 0] != run[:, 1]).any((1, 2, 3)).all()
  assert (run != other).any()
  env = make(2, task='freeway', size=(32, 32))
  first = env.reset()['image']
  env.step({'action': np.full(2, UP)})
  np.testing.assert_array_equal(env.reset()['image'], first)


def test_every_game_of_the_benchmark_is_there(ale):
  from ale_py import roms

  from dreamer_nnx.envs.atari import SPELLINGS

  assert len(set(GAMES.split())) == 57
  for name in GAMES.split():
    assert roms.get_rom_path(SPELLINGS.get(name, name)) is not None, name
  assert make(task='james_bond', actions='needed').action_space['action'].n


def test_spaces_are_those_asked_for(ale):
  env = make(size=(48, 32), gray=False)
  assert env.obs_space['image'].shape == (48, 32, 3)
  assert env.reset()['image'].shape == (1, 48, 32, 3)
  assert env.action_space['action'].n == 18
  assert make(actions='needed').action_space['action'].n == 6
  assert make().obs_space['image'].shape == (96, 96, 1)
  assert env.interface.action.n == 18
  assert env.interface.obs_space == env.obs_space


def test_an_episode_ends_with_a_life_if_asked_to(ale):
  actions = np.random.default_rng(0).choice([1, 3, 4], 200)
  fields = {'task': 'breakout', 'size': (16, 16), 'sticky': 0.0, 'noops': 0}
  whole = play(actions, **fields)
  lives = play(actions, lives='reset', **fields)
  assert lives['is_last'].sum() > whole['is_last'].sum()
  np.testing.assert_array_equal(lives['is_last'], lives['is_terminal'])


def test_rewards_are_clipped_if_asked_to(ale):
  actions = np.random.default_rng(0).integers(0, 9, 200)
  fields = {'task': 'asterix', 'size': (16, 16), 'sticky': 0.0, 'noops': 0}
  whole = play(actions, **fields)['reward']
  clipped = play(actions, clip_reward=True, **fields)['reward']
  assert whole.max() >= 50
  np.testing.assert_array_equal(clipped, np.sign(whole))


def test_a_game_starts_by_itself_if_asked_to(ale):
  fields = {'task': 'breakout', 'size': RAW, 'sticky': 0.0, 'noops': 0}
  images = lambda **more: play([0] * 9, **fields, **more)['image']
  waits, starts = images(), images(autostart=True)
  assert (waits == waits[:1]).all()
  assert (starts[1:] != starts[:-1]).any()


def test_one_frame_flickers_and_two_do_not(ale):
  fields = {'task': 'asteroids', 'size': RAW, 'sticky': 0.0, 'noops': 0}
  one, two = (play([0] * 8, pooling=x, **fields)['image'][1:] for x in (1, 2))
  assert (two >= one).all()
  assert (two > one).any()


def test_more_frames_than_a_step_has_are_told_of(ale, caplog):
  notices.WARNED.clear()
  fields = {'task': 'asteroids', 'size': RAW, 'sticky': 0.0, 'repeat': 1}
  one = play([0] * 8, pooling=1, **fields)['image']
  assert not caplog.text
  two = play([0] * 8, **fields)['image']
  assert 'env.atari.pooling = 2: a step has one frame (repeat' in caplog.text
  np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'task': 'pongg'}, r"atari.task = 'pongg': .* Did you mean 'pong'"),
    ({'size': (3, 4, 5)}, r'atari.size = \(3, 4, 5\): must be \(height, wi'),
    ({'lives': 'discount'}, "atari.lives = 'discount': must be one of"),
    ({'sticky': 1.5}, 'atari.sticky = 1.5: must be at least 0 and at most 1'),
  ],
)
def test_fields_that_do_not_fit(ale, fields, message):
  with pytest.raises(UserError, match=message):
    make(**fields)


@pytest.mark.parametrize(
  'action', [[0, 18], [-1, 0], [0], [0.5, 0], [2**32, 0]]
)
def test_an_action_that_is_none_is_refused(ale, action):
  env = make(2, size=(16, 16))
  with pytest.raises(EnvError, match='call reset before step'):
    env.step({'action': np.zeros(2, int)})
  env.reset()
  with pytest.raises(EnvError, match='not 2 classes from 0 to 17'):
    env.step({'action': np.array(action)})
  with pytest.raises(EnvError, match="the action 'action' is missing"):
    env.step({'button': np.zeros(2, int)})
  env.step({'action': np.array([0, 17])})


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
  def version(name):
    raise importlib.metadata.PackageNotFoundError(name)

  monkeypatch.setattr(importlib.metadata, 'version', version)
  with pytest.raises(UserError, match="'atari' needs: pip install"):
    make()


def test_there_is_no_state_to_resume(ale):
  env = make()
  assert env.state() is None
  assert env.stats() == {'env/restarts': 0.0}
  with pytest.raises(EnvError, match='no state'):
    env.restore({})
  env.close()
  env.close()
