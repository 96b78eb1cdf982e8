"""`catch`: catch a falling ball; one reward, at the end of the episode."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from gymnasium import spaces

from dreamer_nnx.envs import drawing
from dreamer_nnx.envs.jax_vector import JaxVectorEnv, Outcome, State
from dreamer_nnx.slots import ENV

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Catch:
  """One game: a ball falls one row a step, a paddle waits in the last row.

  Actions 0, 1, 2 move the paddle left, not, right. The ball starts in a
  random column of the first row, the paddle in the middle. When the ball
  reaches the last row, after rows - 1 actions, the episode terminates with
  reward 1 if the paddle is there and -1 if not.
  """

  size: int
  columns: int
  rows: int

  @property
  def obs_space(self) -> dict[str, spaces.Space]:
    return {'image': drawing.space(self.size)}

  @property
  def action_space(self) -> dict[str, spaces.Space]:
    return {'action': spaces.Discrete(3)}

  def reset(self, key: Array) -> State:
    return {
      'ball': jax.random.randint(key, (), 0, self.columns),
      'row': jnp.int32(0),
      'paddle': jnp.int32(self.columns // 2),
    }

  def step(
    self, state: State, action: dict[str, Array], key: Array
  ) -> tuple[State, Outcome]:
    shift = functools.partial(drawing.shift, columns=self.columns)
    paddle = shift(state['paddle'], action['action'] - 1)
    row = state['row'] + 1
    landed = row >= self.rows - 1
    caught = jnp.where(paddle == state['ball'], 1.0, -1.0)
    outcome = Outcome(
      reward=jnp.where(landed, caught, 0.0),
      terminated=landed,
      truncated=jnp.array(False),
    )
    return {'ball': state['ball'], 'row': row, 'paddle': paddle}, outcome

  def observe(self, state: State) -> dict[str, Array]:
    size, width = self.size, self.size // self.columns
    height = size // self.rows
    top, left = state['row'] * height, state['ball'] * width
    ball = drawing.box(size, top, top + height, left, width)
    left = state['paddle'] * width
    paddle = drawing.box(size, size - height, size, left, width)
    return {'image': drawing.paint(ball, paddle)}


@ENV.register('catch')
def catch(
  *,
  num_envs,
  seed,
  size: drawing.Pixels = 16,
  columns: drawing.Cells = 8,
  rows: drawing.Cells = 8,
) -> JaxVectorEnv:
  """The game `Catch`, drawn as size x size pixels.

  Args:
    size: Side of the image, in pixels; a multiple of `columns` and of `rows`.
    columns: Places of the paddle and of the ball.
    rows: Rows that the ball falls through; an episode has one action fewer.

  Raises:
    UserError: If the columns or the rows do not divide the size.
  """
  drawing.check_grid(size, columns=columns, rows=rows)
  return JaxVectorEnv(Catch(size, columns, rows), num_envs, seed)
