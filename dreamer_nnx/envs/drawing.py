"""Drawing for the built-in pixel games: a grid, boxes and two colours."""

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import SIDE, Range

Array = jax.Array

# Distinct in every channel but one, so that overlapping boxes can be told
# from either: painting adds them.
OBJECT = np.array([255, 128, 0], np.uint8)
PADDLE = np.array([0, 64, 255], np.uint8)
# Fields of the games. The paddle must be able to leave the object's column in
# both directions.
Pixels = Annotated[int, Range(1, SIDE)]
Cells = Annotated[int, Range(3)]


def space(size: int) -> spaces.Box:
  """Square colour images."""
  return spaces.Box(0, 255, (size, size, 3), np.uint8)


def shift(column: Array, by: Array, *, columns: int) -> Array:
  """Moves a column by -1, 0 or 1, within the grid."""
  return jnp.clip(column + jnp.clip(by, -1, 1), 0, columns - 1)


def box(
  size: int, top: Array | int, bottom: Array | int, left: Array, width: int
) -> Array:
  """Draws a mask (size, size) of one filled box."""
  row, column = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
  tall = (top <= row) & (row < bottom)
  return tall & (left <= column) & (column < left + width)


def paint(thing: Array, paddle: Array) -> Array:
  """Paints two masks (size, size) as one image (size, size, 3) on black."""
  thing, paddle = thing[..., None], paddle[..., None]
  return thing * jnp.asarray(OBJECT) + paddle * jnp.asarray(PADDLE)


def check_grid(size: int, **cells: int) -> None:
  """Refuses grids that do not divide the image.

  Raises:
    UserError: Naming the field `size`.
  """
  for name, count in cells.items():
    if size % count:
      raise UserError(
        f'must be a multiple of the {count} {name}.', 'size', size
      )
