"""`minatar`: Atari games made small, of 10 x 10 cells."""

from collections.abc import Sequence
from typing import Annotated, Any

import gymnasium
import numpy as np

from dreamer_nnx import streams
from dreamer_nnx.envs import packages
from dreamer_nnx.envs.games import GameVectorEnv, Played
from dreamer_nnx.schema import SIDE, OneOf, Range, Share
from dreamer_nnx.slots import ENV
from dreamer_nnx.streams import Stream

WHERE = 'config.env.minatar'
# Of a side.
CELLS = 10
Task = OneOf('asterix', 'breakout', 'freeway', 'seaquest', 'space_invaders')


class MinAtarGames:
  """W games, stepped one after the other.

  Args:
    games: Environments of the package.
    scale: Pixels of a cell, in each direction; 0 for a vector of all cells.
    actions: Numbers that the package has for the actions.
    length: Steps until an episode is cut off; 0 for no limit.
  """

  def __init__(
    self,
    games: Sequence[Any],
    seeds: Sequence[int],
    *,
    scale: int,
    actions: Sequence[int],
    length: int,
  ) -> None:
    self.num_envs = len(games)
    self._games, self._seeds, self._scale = games, seeds, scale
    # Looked up once, for a step takes a few microseconds.
    self._acts = [game.act for game in games]
    self._states = [game.state for game in games]
    self._actions, self._length = actions, length
    self._none = np.zeros(self.num_envs, bool)
    height, width, channels = games[0].state_shape()
    types = gymnasium.spaces
    if scale:
      shape = (height * scale, width * scale, channels)
      self.obs_space = types.Box(0, 255, shape, np.uint8)
    else:
      shape = (height * width * channels,)
      self.obs_space = types.Box(0, 1, shape, np.float32)
    self.action_space = types.Discrete(len(actions))

  def begin(self) -> np.ndarray:
    for game, seed in zip(self._games, self._seeds, strict=True):
      game.seed(seed)
      game.last_action = 0
      game.reset()
    self._ended = [False] * self.num_envs
    self._times = np.zeros(self.num_envs, int)
    return self._observe()

  def play(self, actions: np.ndarray) -> Played:
    rewards, over = [0.0] * self.num_envs, [False] * self.num_envs
    for index, action in enumerate(actions.tolist()):
      if self._ended[index]:
        self._games[index].reset()
      else:
        move = self._actions[action]
        rewards[index], over[index] = self._acts[index](move)
    seen, reward = self._observe(), np.array(rewards, np.float32)
    terminal, cut = np.array(over, bool), self._cut(over)
    self._ended = (terminal | cut).tolist() if self._length else over
    return Played(seen, reward, terminal, cut)

  def close(self) -> None:
    """Does nothing: no resources are held outside this process."""

  def _cut(self, over):
    """Flags (W,) of the episodes that the limit ends."""
    if not self._length:
      return self._none
    self._times = np.where(self._ended, 0, self._times + 1)
    return (self._times >= self._length) & ~np.array(over, bool)

  def _observe(self):
    cells = np.array([state() for state in self._states])  # (W, 10, 10, C)
    if not self._scale:
      return cells.reshape(self.num_envs, -1).astype(np.float32)
    pixels = cells.view(np.uint8) * np.uint8(255)
    if self._scale == 1:
      return pixels
    return pixels.repeat(self._scale, 2).repeat(self._scale, 1)


@ENV.register('minatar')
def minatar(
  *,
  num_envs,
  seed,
  task: Annotated[str, Task] = 'breakout',
  form: Annotated[str, OneOf('image', 'vector')] = 'image',
  scale: Annotated[int, Range(1, SIDE // CELLS)] = 8,
  sticky: Share = 0.1,
  ramping: bool = True,
  actions: Annotated[str, OneOf('all', 'needed')] = 'all',
  length: Annotated[int, Range(0)] = 0,
) -> GameVectorEnv:
  """Makes W games of MinAtar, which are stepped in this process.

  What is in a cell is told by 4 to 10 channels, each for one kind of thing:
  255 where it is, 0 where it is not, and 1 and 0 in a vector.

  Args:
    task: The game.
    form: `image` of 10 · `scale` pixels a side, or `vector` of all cells.
    scale: Pixels of a cell in each direction; an encoder with n halvings needs
      a side that 2^n divides.
    sticky: Probability that an action is the one before, once again.
    ramping: Whether a game becomes harder with time.
    actions: `all` 6 of them, or those `needed` in the game.
    length: Steps after which an episode is cut off; 0 for no limit.

  Raises:
    UserError: The package is not installed.

  Source: Young and Tian 2019 (arXiv 1903.03176).
  """
  package = packages.load('minatar', 'minatar', "config.env.name = 'minatar'")
  games = [package.Environment(task, sticky, ramping) for _ in range(num_envs)]
  every = list(range(games[0].num_actions()))
  kept = every if actions == 'all' else games[0].minimal_action_set()
  seeds = [streams.seed(seed, Stream.RESET, i) for i in range(num_envs)]
  scale = scale if form == 'image' else 0
  played = MinAtarGames(games, seeds, scale=scale, actions=kept, length=length)
  return GameVectorEnv(played, WHERE)
