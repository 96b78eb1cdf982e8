"""`atari`: games of the Arcade Learning Environment."""

import warnings
from typing import Annotated, Any

import gymnasium
import numpy as np

from dreamer_nnx import streams
from dreamer_nnx.envs import packages
from dreamer_nnx.envs.games import GameVectorEnv, Played, Threads
from dreamer_nnx.errors import UserError
from dreamer_nnx.notices import warn_once
from dreamer_nnx.schema import INT32, OneOf, Pixels, Range, Share, suggest
from dreamer_nnx.slots import ENV
from dreamer_nnx.streams import Stream

WHERE = 'config.env.atari'
UNPOOLED = 'a step has one frame (repeat = 1), which is the image.'
# Names of the literature that the package spells in another way.
SPELLINGS = {'james_bond': 'jamesbond'}
# What the emulator does unless it is told before a game is loaded.
STICKY = 0.25


class AtariGames:
  """W games in the threads of ale-py's own vector environment."""

  def __init__(self, native: Any, seeds: np.ndarray) -> None:
    self.num_envs = len(seeds)
    _, *shape = native.single_observation_space.shape
    self._shape = tuple(shape) if len(shape) == 3 else (*shape, 1)
    types = gymnasium.spaces
    self.obs_space = types.Box(0, 255, self._shape, np.uint8)
    self.action_space = types.Discrete(int(native.single_action_space.n))
    self._native, self._seeds = native, seeds

  def begin(self) -> np.ndarray:
    seen, _ = self._native.reset(seed=self._seeds)
    return self._images(seen)

  def play(self, actions: np.ndarray) -> Played:
    seen, reward, over, cut, _ = self._native.step(actions)
    return Played(self._images(seen), reward, over, cut)

  def close(self) -> None:
    # Its threads end when it is deleted, and it has nothing else to close.
    self._native = None

  def _images(self, stacks):
    """Stacks of one frame (W, 1, H, W[, 3]) as (W, H, W, C), not copied."""
    return stacks.reshape(self.num_envs, *self._shape)


@ENV.register('atari')
def atari(
  *,
  num_envs,
  seed,
  task: str = 'pong',
  size: Pixels = (96, 96),
  gray: bool = True,
  sticky: Share = STICKY,
  repeat: Annotated[int, Range(1, INT32)] = 4,
  actions: Annotated[str, OneOf('all', 'needed')] = 'all',
  noops: Annotated[int, Range(0, 100_000)] = 30,
  length: Annotated[int, Range(1, INT32 - 1)] = 108_000,
  pooling: Annotated[int, OneOf(1, 2)] = 2,
  lives: Annotated[str, OneOf('unused', 'reset')] = 'unused',
  clip_reward: bool = False,
  autostart: bool = False,
  reference: bool = False,
  threads: Threads = 0,
) -> GameVectorEnv:
  """Makes W games of one name, stepped in threads by ale-py.

  A step acts `repeat` times; its image is the maximum of the last `pooling`
  frames, scaled by the mean of areas. An episode is over with the game. In the
  step that ends it the image is mostly that of the step before, for ale-py does
  not look at a game that is over.

  Args:
    task: Name of the game, as in Atari-57: 'ms_pacman', 'james_bond'.
    size: Height and width of the image in pixels.
    gray: Whether the image has one channel, of brightness, instead of three.
    sticky: Probability that a frame takes the action of the frame before, 0.25
      in the benchmark and 0 for none; see Machado et al. 2018 (arXiv
      1709.06009).
    repeat: Frames that each action is taken for; rewards are added up.
    actions: `all` 18 of the console, or those `needed` in the game.
    noops: Most frames without an action at the beginning; their number is
      drawn uniformly from 0 on.
    length: Frames after which an episode is cut off; it is no terminal step.
    pooling: Frames that the image is the maximum of, against flicker; no more
      than `repeat`.
    lives: `unused`; or `reset`, where an episode ends with each life.
    clip_reward: Whether rewards are clipped to -1, 0 and 1.
    autostart: Presses FIRE in the first frame, in games that have it, instead
      of one frame without an action.
    reference: Does what danijar/dreamerv3 does in effect: `sticky` is 0.25
      whatever it says, and a time limit counts as terminal.
    threads: Threads that step the games; 0 for as many as there are cores.

  Raises:
    UserError: No game has this name, or ale-py is not installed.
  """
  where = "config.env.name = 'atari'"
  vector = packages.load('ale_py.vector_env', 'atari', where)
  if len(size) != 2:
    raise UserError('must be (height, width) in pixels.', 'size', size)
  if pooling > repeat:
    warn_once(f'{WHERE}.pooling = {pooling}: {UNPOOLED}')
  height, width = size
  native = vector.AtariVectorEnv(
    _rom(task, where),
    num_envs,
    num_threads=threads,
    max_num_frames_per_episode=length,
    repeat_action_probability=STICKY if reference else sticky,
    full_action_space=actions == 'all',
    img_height=height,
    img_width=width,
    grayscale=gray,
    stack_num=1,
    frameskip=repeat,
    maxpool=pooling == 2,
    # It draws below this number.
    noop_max=noops + 1,
    episodic_life=lives == 'reset',
    reward_clipping=clip_reward,
    use_fire_reset=autostart,
  )
  seeds = [streams.seed(seed, Stream.RESET, i) for i in range(num_envs)]
  return GameVectorEnv(
    AtariGames(native, np.array(seeds)),
    WHERE,
    repeat=repeat,
    limit_terminal=reference,
  )


def _rom(task: str, where: str) -> str:
  """Checks the name of a game and returns it as the package spells it."""
  roms = packages.load('ale_py.roms', 'atari', where)
  name = SPELLINGS.get(task, task)
  with warnings.catch_warnings():
    # It warns of names that it does not know, and returns None.
    warnings.simplefilter('ignore')
    known = roms.get_rom_path(name) is not None
  if not known:
    hint = suggest(name, roms.get_all_rom_ids())
    text = f'ale-py has no such game.{hint} Names are like ms_pacman.'
    raise UserError(text, 'task', task)
  return name
