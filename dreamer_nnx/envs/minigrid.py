"""`minigrid`: MiniGrid's and BabyAI's rooms of keys, doors and boxes."""

import functools
import itertools
import zlib
from typing import Annotated, Any

import gymnasium
import numpy as np

from dreamer_nnx import schema
from dreamer_nnx.envs import packages, single
from dreamer_nnx.envs.vector import GymVectorEnv
from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import OneOf
from dreamer_nnx.slots import ENV

WHERE = "config.env.name = 'minigrid'"
FAMILIES = ('MiniGrid-', 'BabyAI-')
# Pixels of a tile; pictures are enlarged by black margins to a multiple of
# MULTIPLE, so that they can be halved four times: 7 tiles of 8 to 64.
TILE, MULTIPLE = 8, 16
# Numbers that stand for a mission.
WORDS = 128


class Symbols(gymnasium.ObservationWrapper):
  """Observes the tiles in view: what, which colour, which state, each one-hot.

  Of (n, n, 3) whole numbers it makes (n n (kinds + colours + states),), tile by
  tile. As pixels of an image they would be too few for an encoder, and numbers
  that are near stand for nothing alike.
  """

  def __init__(self, env: gymnasium.Env, mission: bool) -> None:
    super().__init__(env)
    constants = packages.load('minigrid.core.constants', 'minigrid', WHERE)
    tables = constants.OBJECT_TO_IDX, constants.COLOR_TO_IDX
    counts = [len(x) for x in (*tables, constants.STATE_TO_IDX)]
    tiles = int(np.prod(env.observation_space['image'].shape[:2]))
    self._size = tiles * sum(counts)
    # Places of the zeros of each number, (3 n n,).
    starts = np.cumsum([0, *counts[:-1]])
    self._starts = (np.arange(tiles)[:, None] * sum(counts) + starts).ravel()
    self._mission = mission
    self.observation_space = gymnasium.spaces.Dict(
      {
        'tiles': gymnasium.spaces.Box(0, 1, (self._size,), np.float32),
        'direction': env.observation_space['direction'],
        **_mission_space(mission),
      }
    )

  def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
    tiles = np.zeros(self._size, np.float32)
    tiles[self._starts + observation['image'].ravel()] = 1
    return {
      'tiles': tiles,
      'direction': observation['direction'],
      **_mission_value(self._mission, observation),
    }


class Pixels(gymnasium.ObservationWrapper):
  """Observes the tiles in view as they are drawn, within black margins."""

  def __init__(self, env: gymnasium.Env, mission: bool) -> None:
    super().__init__(env)
    side, _, channels = env.observation_space['image'].shape
    whole = -(-side // MULTIPLE) * MULTIPLE
    self._shape = whole, whole, channels
    start = (whole - side) // 2
    self._inner = slice(start, start + side)
    self._mission = mission
    self.observation_space = gymnasium.spaces.Dict(
      {
        'image': gymnasium.spaces.Box(0, 255, self._shape, np.uint8),
        'direction': env.observation_space['direction'],
        **_mission_space(mission),
      }
    )

  def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
    image = np.zeros(self._shape, np.uint8)
    image[self._inner, self._inner] = observation['image']
    return {
      'image': image,
      'direction': observation['direction'],
      **_mission_value(self._mission, observation),
    }


def _mission_space(shown):
  space = gymnasium.spaces.Box(0, np.inf, (WORDS,), np.float32)
  return {'mission': space} if shown else {}


def _mission_value(shown, observation):
  return {'mission': hashed(observation['mission'])} if shown else {}


@functools.lru_cache(maxsize=4096)
def hashed(text: str) -> np.ndarray:
  """Counts words and pairs of words in WORDS places, by their checksums.

  Without the pairs "the box next to the ball" is "the ball next to the box".
  """
  words = text.lower().split()
  pairs = [' '.join(x) for x in itertools.pairwise(words)]
  counts = np.zeros(WORDS, np.float32)
  for part in (*words, *pairs):
    counts[zlib.crc32(part.encode()) % WORDS] += 1
  counts.setflags(write=False)
  return counts


def make(name: str, view: str, mission: bool) -> gymnasium.Env:
  """Makes one environment by its whole id."""
  library = packages.load('minigrid.wrappers', 'minigrid', WHERE)
  # Nothing is drawn before it is asked for.
  env = gymnasium.make(name, disable_env_checker=True, render_mode='rgb_array')
  if view == 'symbolic':
    return Symbols(env, mission)
  return Pixels(library.RGBImgPartialObsWrapper(env, tile_size=TILE), mission)


@ENV.register('minigrid')
@single.with_options
def minigrid(
  *,
  num_envs,
  seed,
  task: str = 'DoorKey-6x6',
  view: Annotated[str, OneOf('symbolic', 'pixels')] = 'symbolic',
  mission: bool = True,
  options: single.Options,
) -> GymVectorEnv:
  """Makes W environments of MiniGrid or BabyAI; the player sees 7x7 tiles.

  The goal is terminal, and the limit of steps that each task has is not. The
  reward is that of the package, 1 - 0.9 of the share of the limit that was
  used.

  Source: Chevalier-Boisvert et al. 2023, *Minigrid & Miniworld*
  (arXiv 2306.13831).

  Args:
    task: 'DoorKey-6x6' for 'MiniGrid-DoorKey-6x6-v0', or a whole id
      ('BabyAI-GoToObj-v0').
    view: 'symbolic' for kind, colour and state of each tile, one-hot, or
      'pixels' for a picture of 64x64.
    mission: Whether the text of the mission is observed, as 128 counts of its
      words and pairs of words. Many tasks have the same one always.

  Raises:
    UserError: If the package is not installed, or has no such task.
  """
  packages.load('minigrid', 'minigrid', WHERE)
  fields = {'name': _id(task), 'view': view, 'mission': mission}
  return single.vectorize(
    single.Maker(make, fields, seed),
    options,
    num_envs=num_envs,
    seed=seed,
    where=f'config.env.minigrid.task = {task!r}',
  )


def _id(task: str) -> str:
  """The id of gymnasium's registry that a task means."""
  known = [x for x in gymnasium.registry if x.startswith(FAMILIES)]
  for name in (task, f'MiniGrid-{task}-v0'):
    if name in known:
      return name
  names = [x.removeprefix('MiniGrid-').removesuffix('-v0') for x in known]
  raise UserError(
    f'MiniGrid has no such task.{schema.suggest(task, (*names, *known))}',
    'task',
    task,
  )
