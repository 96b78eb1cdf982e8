"""Image sizes that a stack of halvings admits."""

from collections.abc import Mapping

from dreamer_nnx.errors import UserError
from dreamer_nnx.spacetypes import Space

MIN_SIDE, MAX_SIDE = 3, 16


def image_sides(obs_space: Mapping[str, Space]) -> tuple[int, int]:
  """Returns height and width of all image keys; UserError if they differ."""
  sides = {key: space.shape[:2] for key, space in obs_space.items()}
  if len(set(sides.values())) > 1:
    raise UserError(
      f'all image keys must have one size, got {sides}. Resize them in the '
      'environment.'
    )
  return next(iter(sides.values()))


def minimal_sides(sides: tuple[int, int], halvings: int) -> tuple[int, ...]:
  """Returns the sides after halvings; UserError unless whole and 3..16."""
  factor = 2**halvings
  small = tuple(side // factor for side in sides)
  even = all(side % factor == 0 for side in sides)
  if even and all(MIN_SIDE <= side <= MAX_SIDE for side in small):
    return small
  raise UserError(
    f'{halvings} halvings of an image of {sides[0]}x{sides[1]} pixels must '
    f'leave a whole {MIN_SIDE} to {MAX_SIDE} pixels a side. Change the image '
    'size or the number of `mults`.',
    'mults',
  )
