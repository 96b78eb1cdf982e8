"""`track`: follow a drifting target, the smallest pixel task worth learning.

Dense rewards, one image, three actions: it tells within minutes whether an
agent learns. Of 32, staying under the target from the first reachable step on
earns about 30, random actions about 4.
"""

import dataclasses
import functools
from typing import Annotated

import jax
import jax.numpy as jnp
from gymnasium import spaces

from dreamer_nnx.envs import drawing
from dreamer_nnx.envs.jax_vector import JaxVectorEnv, Outcome, State
from dreamer_nnx.schema import INT32, Range
from dreamer_nnx.slots import ENV

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Track:
  """One game: a paddle below, a target above, both on `columns` columns.

  Actions 0, 1, 2 move the paddle left, not, right. After the move the reward
  is 1 if the paddle is under the target; then, with `move_probability`, the
  target moves by -1, 0 or 1. Both stay on the columns. An episode is cut off
  after `length` actions; it never terminates.
  """

  size: int
  columns: int
  length: int
  move_probability: float

  @property
  def obs_space(self) -> dict[str, spaces.Space]:
    return {'image': drawing.space(self.size)}

  @property
  def action_space(self) -> dict[str, spaces.Space]:
    return {'action': spaces.Discrete(3)}

  def reset(self, key: Array) -> State:
    paddle, target = jax.random.randint(key, (2,), 0, self.columns)
    return {'paddle': paddle, 'target': target, 'time': jnp.int32(0)}

  def step(
    self, state: State, action: dict[str, Array], key: Array
  ) -> tuple[State, Outcome]:
    whether, where = jax.random.split(key)
    shift = functools.partial(drawing.shift, columns=self.columns)
    paddle = shift(state['paddle'], action['action'] - 1)
    reward = paddle == state['target']
    moves = jax.random.bernoulli(whether, self.move_probability)
    target = shift(
      state['target'], moves * jax.random.randint(where, (), -1, 2)
    )
    time = state['time'] + 1
    outcome = Outcome(
      reward=reward.astype(jnp.float32),
      terminated=jnp.array(False),
      truncated=time >= self.length,
    )
    return {'paddle': paddle, 'target': target, 'time': time}, outcome

  def observe(self, state: State) -> dict[str, Array]:
    """The target fills the upper half of its column, the paddle is below."""
    size, cell = self.size, self.size // self.columns
    half, floor = size // 2, size * 5 // 8
    left = lambda name: state[name] * cell
    target = drawing.box(size, 0, half, left('target'), cell)
    paddle = drawing.box(size, floor, size, left('paddle'), cell)
    return {'image': drawing.paint(target, paddle)}


@ENV.register('track')
def track(
  *,
  num_envs,
  seed,
  size: drawing.Pixels = 16,
  columns: drawing.Cells = 8,
  length: Annotated[int, Range(1, INT32)] = 32,
  move_probability: Annotated[float, Range(0, 1)] = 0.25,
) -> JaxVectorEnv:
  """The game `Track`, drawn as size x size pixels.

  Args:
    size: Side of the image, in pixels; a multiple of `columns`.
    columns: Places of the paddle and of the target.
    length: Actions of an episode.
    move_probability: Probability that the target is moved, by -1, 0 or 1, after
      an action.

  Raises:
    UserError: If the columns do not divide the size.
  """
  drawing.check_grid(size, columns=columns)
  game = Track(size, columns, length, move_probability)
  return JaxVectorEnv(game, num_envs, seed)
