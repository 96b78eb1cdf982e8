"""`pinpad`: step on coloured pads in a fixed order, a task of long memory."""

import dataclasses
import functools
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from dreamer_nnx.envs.jax_vector import JaxVectorEnv, Outcome, State
from dreamer_nnx.schema import INT32, OneOf, Range
from dreamer_nnx.slots import ENV

Array = jax.Array

# Tiles of the room, its walls included, and of the picture, which has two rows
# more below it for the pads that were stepped on.
WIDTH, HEIGHT, SIDE = 16, 14, 16
PIXELS = 4
# Rectangles of pads by task: pad, first and last column, first and last row.
PADS = {
  'three': ((1, 1, 4, 1, 4), (2, 6, 9, 9, 12), (3, 11, 14, 1, 4)),
  'four': (
    *((1, 1, 4, 1, 4), (2, 11, 14, 9, 12)),
    *((3, 1, 4, 9, 12), (4, 11, 14, 1, 4)),
  ),
  'five': (
    *((1, 1, 3, 2, 5), (2, 11, 14, 10, 12), (3, 1, 3, 8, 11)),
    *((4, 11, 14, 1, 3), (5, 12, 14, 5, 8)),
  ),
  'six': (
    *((1, 1, 3, 1, 3), (2, 12, 14, 10, 12), (3, 1, 2, 5, 8)),
    *((4, 1, 3, 10, 12), (5, 12, 14, 1, 3), (6, 13, 14, 5, 8)),
  ),
}
PADS['seven'] = (
  *((1, 1, 3, 1, 2), (1, 1, 2, 3, 3), (4, 12, 14, 1, 2), (4, 13, 14, 3, 3)),
  *((2, 13, 14, 10, 10), (2, 12, 14, 11, 12)),
  *((6, 1, 2, 10, 10), (6, 1, 3, 11, 12)),
  *((3, 1, 2, 5, 8), (5, 13, 14, 5, 8), (7, 6, 9, 11, 12)),
)
PADS['eight'] = (*PADS['seven'], (8, 6, 9, 1, 2))

WALL = -1
# By number of the pad; 0 stands for none.
COLORS = np.array(
  [
    (255, 255, 255),
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 0),
    (255, 0, 255),
    (0, 255, 255),
    (128, 0, 128),
    (0, 128, 128),
  ],
  np.uint8,
)
# A pad that is not stood on has a tenth of its colour.
PALE = ((COLORS.astype(int) + 9 * 255) // 10).astype(np.uint8)
GRAY, GREEN = np.uint8([192, 192, 192]), np.uint8([223, 255, 223])
MOVES = np.array([(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)], np.int32)
REWARD, COUNTDOWN = 10.0, 10


@functools.cache
def room(task: str) -> np.ndarray:
  """Tiles (WIDTH, HEIGHT): the number of a pad, 0 for floor, or WALL."""
  tiles = np.full((WIDTH, HEIGHT), WALL, np.int32)
  tiles[1:-1, 1:-1] = 0
  for pad, left, right, top, bottom in PADS[task]:
    tiles[left : right + 1, top : bottom + 1] = pad
  return tiles


@dataclasses.dataclass(frozen=True)
class PinPad:
  """One game: a player in a room with pads, of which it has to find the order.

  Actions 0 to 4: stay, down, up, right, left; walls stop the player. Pads that
  it steps on are remembered, one that it stands on once, and of them the last
  N, the number of pads. When these are 1, 2, ..., N the reward is 10, the floor
  is green, and after 10 steps the player is put on a random tile, with nothing
  remembered. An episode is cut off after `length` actions; it never terminates.
  """

  task: str
  length: int

  @property
  def obs_space(self) -> dict[str, spaces.Space]:
    side = SIDE * PIXELS
    return {'image': spaces.Box(0, 255, (side, side, 3), np.uint8)}

  @property
  def action_space(self) -> dict[str, spaces.Space]:
    return {'action': spaces.Discrete(len(MOVES))}

  @property
  def count(self) -> int:
    """The number of pads."""
    return int(room(self.task).max())

  def spawn(self, key: Array) -> Array:
    """Draws a tile (2,) that is no wall."""
    free = np.argwhere(room(self.task) != WALL).astype(np.int32)
    return jnp.asarray(free)[jax.random.randint(key, (), 0, len(free))]

  def reset(self, key: Array) -> State:
    return {
      'player': self.spawn(key),
      'sequence': jnp.zeros(self.count, jnp.int32),
      'countdown': jnp.int32(0),
      'time': jnp.int32(0),
    }

  def step(
    self, state: State, action: dict[str, Array], key: Array
  ) -> tuple[State, Outcome]:
    countdown = jnp.maximum(state['countdown'] - 1, 0)
    respawns = state['countdown'] == 1
    player = jnp.where(respawns, self.spawn(key), state['player'])
    sequence = jnp.where(respawns, 0, state['sequence'])
    there = player + jnp.asarray(MOVES)[action['action']]
    tile = jnp.asarray(room(self.task))[there[0], there[1]]
    player = jnp.where(tile == WALL, player, there)
    sequence = _remember(sequence, tile)
    solved = (sequence == jnp.arange(1, self.count + 1)).all()
    rewarded = solved & (countdown == 0)
    time = state['time'] + 1
    after = {
      'player': player,
      'sequence': sequence,
      'countdown': jnp.where(rewarded, COUNTDOWN, countdown),
      'time': time,
    }
    return after, Outcome(
      reward=jnp.where(rewarded, REWARD, 0.0),
      terminated=jnp.array(False),
      truncated=time >= self.length,
    )

  def observe(self, state: State) -> dict[str, Array]:
    """Draws the room from above, and what is remembered below it."""
    tiles = jnp.asarray(room(self.task))
    player = state['player']
    floor = jnp.where(state['countdown'] > 0, GREEN, COLORS[0])
    here = (tiles == tiles[player[0], player[1]])[..., None]
    grid = jnp.where(here, jnp.asarray(COLORS)[tiles], jnp.asarray(PALE)[tiles])
    grid = jnp.where((tiles == 0)[..., None], floor, grid)
    grid = jnp.where((tiles == WALL)[..., None], GRAY, grid)
    grid = grid.at[player[0], player[1]].set(0)
    below = jnp.broadcast_to(GRAY, (WIDTH, SIDE - HEIGHT, 3))
    shown = jnp.asarray(COLORS)[state['sequence']]
    shown = jnp.where((state['sequence'] > 0)[:, None], shown, GRAY)
    below = below.at[1 : 2 * self.count : 2, 0].set(shown)
    grid = jnp.concatenate([grid, below], 1)
    image = grid.repeat(PIXELS, 0).repeat(PIXELS, 1)
    return {'image': image.transpose(1, 0, 2)}


def _remember(sequence: Array, tile: Array) -> Array:
  """Appends a pad (a positive tile) unless it is the last; drops the oldest.

  Args:
    sequence: Pads (N,) in order; 0 in the places that are still empty.
  """
  count = (sequence > 0).sum()
  last = jnp.where(count > 0, sequence[count - 1], 0)
  full = count == len(sequence)
  moved = jnp.where(full, jnp.roll(sequence, -1), sequence)
  added = moved.at[jnp.minimum(count, len(sequence) - 1)].set(tile)
  return jnp.where((tile > 0) & (tile != last), added, sequence)


@ENV.register('pinpad')
def pinpad(
  *,
  num_envs,
  seed,
  task: Annotated[str, OneOf(*PADS)] = 'three',
  length: Annotated[int, Range(1, INT32)] = 10_000,
) -> JaxVectorEnv:
  """The game `PinPad`, drawn as 64x64 pixels.

  Source: Visual Pin Pad of Hafner et al., 2022, arXiv:2206.04114; rooms,
  rewards and pictures are those that DreamerV3's repository has.

  Args:
    task: Number of pads in a word, from 'three' to 'eight'.
    length: Actions of an episode.
  """
  return JaxVectorEnv(PinPad(task, length), num_envs, seed)
