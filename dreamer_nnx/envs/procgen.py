"""`procgen`: games whose levels are generated."""

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import gymnasium
import numpy as np

from dreamer_nnx import streams
from dreamer_nnx.envs import old_gym, packages
from dreamer_nnx.envs.games import GameVectorEnv, Played, Threads
from dreamer_nnx.errors import UserError
from dreamer_nnx.interface import resize
from dreamer_nnx.schema import INT32, OneOf, Pixels, Range
from dreamer_nnx.slots import ENV
from dreamer_nnx.streams import Stream

WHERE = 'config.env.procgen'
CHOSEN = "config.env.name = 'procgen'"
SIDE = 64
# Of each game: steps after which it cuts an episode off, and the kinds of
# levels beside easy and hard.
GAMES = {
  'bigfish': (6000, ()),
  'bossfight': (4000, ()),
  'caveflyer': (1000, ('memory', 'exploration')),
  'chaser': (1000, ('extreme',)),
  'climber': (1000, ('exploration',)),
  'coinrun': (1000, ('exploration',)),
  'dodgeball': (1000, ('extreme', 'memory')),
  'fruitbot': (1000, ()),
  'heist': (1000, ('memory', 'exploration')),
  'jumper': (1000, ('memory', 'exploration')),
  'leaper': (500, ('extreme', 'exploration')),
  'maze': (500, ('memory', 'exploration')),
  'miner': (1000, ('memory',)),
  'ninja': (1000, ('exploration',)),
  'plunder': (4000, ()),
  'starpilot': (1000, ('extreme',)),
}
MODES = ('easy', 'hard', 'extreme', 'memory', 'exploration')
QT = 'apt-get install -y --no-install-recommends libqt5core5a libqt5gui5'
MIRROR = (
  'pip install --no-deps procgen-mirror gym3 && pip install cffi filelock '
  'glfw imageio moderngl'
)
Level = Annotated[int, Range(0, INT32)]


class PoolGames:
  """W games in the threads of envpool.

  Args:
    make: Makes them, all from their seeds.
  """

  def __init__(self, make: Callable[[], Any], num_envs: int) -> None:
    self.num_envs = num_envs
    self._make, self._pool, self._begun = make, make(), False
    self.obs_space = self._pool.observation_space
    self.action_space = gymnasium.spaces.Discrete(
      int(self._pool.action_space.n)
    )

  def begin(self) -> np.ndarray:
    if self._begun:
      self._pool.close()
      self._pool = self._make()
    self._begun = True
    return self._pool.reset()[0]

  def play(self, actions: np.ndarray) -> Played:
    seen, reward, over, cut, _ = self._pool.step(actions)
    return Played(seen, reward, over, cut)

  def close(self) -> None:
    self._pool.close()


class MirrorGames:
  """W games of the package procgen, one after the other.

  A game of the package begins the next level in the step that ends one, so
  the last step of an episode still has the image before.

  Args:
    make: Makes the game of a seed.
    size: Height and width; if they are not those of the game, its drawing of
      512 x 512 pixels is scaled.
    limit: Steps after which the game cuts an episode off.
  """

  def __init__(
    self,
    make: Callable[[int], Any],
    seeds: Sequence[int],
    size: tuple[int, int],
    limit: int,
  ) -> None:
    self.num_envs = len(seeds)
    self._make, self._seeds, self._limit = make, seeds, limit
    self._size = size
    types = gymnasium.spaces
    self.obs_space = types.Box(0, 255, (*size, 3), np.uint8)
    self.action_space = types.Discrete(15)
    self._games = []

  def begin(self) -> np.ndarray:
    self.close()
    self._games = [self._make(seed) for seed in self._seeds]
    self._seen = np.stack([self._image(game) for game in self._games])
    self._ended = np.zeros(self.num_envs, bool)
    self._times = np.zeros(self.num_envs, int)
    return self._seen

  def play(self, actions: np.ndarray) -> Played:
    reward = np.zeros(self.num_envs, np.float32)
    ended, seen = np.zeros(self.num_envs, bool), self._seen.copy()
    self._times = np.where(self._ended, 0, self._times + 1)
    for index, game in enumerate(self._games):
      if not self._ended[index]:
        game.act(actions[index : index + 1])
        gained, _, first = game.observe()
        reward[index], ended[index] = gained[0], first[0]
      if not ended[index]:
        seen[index] = self._image(game)
    self._ended, self._seen = ended, seen
    cut = ended & (self._times >= self._limit)
    return Played(seen, reward, ended & ~cut, cut)

  def close(self) -> None:
    for game in self._games:
      game.close()
    self._games = []

  def _image(self, game):
    if self._size == (SIDE, SIDE):
      return game.observe()[1]['rgb'][0]
    return resize(game.get_info()[0]['rgb'], self._size)


@ENV.register('procgen')
def procgen(
  *,
  num_envs,
  seed,
  task: Annotated[str, OneOf(*GAMES)] = 'coinrun',
  backend: Annotated[str, OneOf('envpool', 'procgen')] = 'envpool',
  size: Pixels = (SIDE, SIDE),
  distribution_mode: Annotated[str, OneOf(*MODES)] = 'hard',
  num_levels: Level = 0,
  start_level: Level = 0,
  limit_terminal: bool = False,
  threads: Threads = 0,
) -> GameVectorEnv:
  """Makes W games of Procgen.

  With `envpool` they are stepped in threads. The package procgen, which is a
  twentieth of its size, steps one after the other, and at the end of an
  episode still shows the step before, for it begins the next level at once.

  Args:
    task: The game.
    backend: `envpool`, or the package `procgen`.
    size: Height and width of the image. 64, 64 is the image of the games; in
      others `procgen` scales its drawing of 512 pixels.
    distribution_mode: Kind of levels; most games have not all of them.
      `exploration` is one hard level of each game.
    num_levels: How many levels there are; 0 for no end.
    start_level: Number of the first level.
    limit_terminal: Whether a time limit counts as the end of the game, as it
      does in danijar/dreamerv3.
    threads: Threads of `envpool`; 0 for as many as there are cores.

  Raises:
    UserError: The game has no such levels, the backend draws no such size, or
      the packages are not installed.

  Source: Cobbe et al. 2019 (arXiv 1912.01588).
  """
  if len(size) != 2:
    raise UserError('must be (height, width) in pixels.', 'size', size)
  limit, more = GAMES[task]
  if distribution_mode not in ('easy', 'hard', *more):
    kinds = ', '.join(('easy', 'hard', *more))
    text = f'{task} has no such levels, but {kinds}.'
    raise UserError(text, 'distribution_mode', distribution_mode)
  levels = {'num_levels': num_levels, 'start_level': start_level}
  if distribution_mode == 'exploration':
    _check_unset(levels)
    # The package takes none here.
    levels = {}
  seeds = [streams.seed(seed, Stream.RESET, i) for i in range(num_envs)]
  if backend == 'envpool':
    if size != (SIDE, SIDE):
      text = f"envpool draws {SIDE}, {SIDE} alone. backend = 'procgen' scales."
      raise UserError(text, 'size', size)
    make = _pool(task, distribution_mode)
    games = PoolGames(
      functools.partial(
        make, num_envs=num_envs, seed=seeds, num_threads=threads, **levels
      ),
      num_envs,
    )
  else:
    scaled = size != (SIDE, SIDE)
    make = functools.partial(
      _game, task, scaled, distribution_mode=distribution_mode, **levels
    )
    games = MirrorGames(make, seeds, size, limit)
  return GameVectorEnv(games, WHERE, limit_terminal=limit_terminal)


def _check_unset(levels: dict[str, int]) -> None:
  for name, value in levels.items():
    if value:
      text = 'must be 0, for exploration is one level, the same for all.'
      raise UserError(text, name, value)


def _pool(task: str, mode: str) -> Callable[..., Any]:
  """Finds what makes games of envpool."""
  pool = packages.load('envpool', 'procgen', CHOSEN)
  name = f'{task.capitalize()}{mode.capitalize()}-v0'

  def make(**options):
    # It loads the games, and their libraries, only here.
    try:
      return pool.make_gymnasium(name, channel_first=False, **options)
    except ImportError as error:
      lines = str(error).splitlines()
      raise UserError(f'{CHOSEN} needs: {QT}. Here: {lines[0]}') from error

  return make


def _game(task: str, scaled: bool, seed: int, **options: Any) -> Any:
  """Makes one game of the package procgen."""
  try:
    with old_gym.replaced():
      package = importlib.import_module('procgen')
  except ImportError as error:
    text = f"{WHERE}.backend = 'procgen' needs: {MIRROR}. Here: {error}."
    raise UserError(text) from error
  return package.ProcgenGym3Env(
    num=1,
    env_name=task,
    rand_seed=seed,
    num_threads=0,
    render_mode='rgb_array' if scaled else None,
    **options,
  )
