"""Sizes of images, and those that a stack of halvings admits."""

from collections.abc import Collection, Mapping

from dreamer_nnx import spaces
from dreamer_nnx.errors import UserError
from dreamer_nnx.spacetypes import Space

MIN_SIDE, MAX_SIDE = 3, 16
MOST_HALVINGS = 12
SCALE = 'Scale images in the environment (`image_size`, where it has that)'
Sides = tuple[int, int]


def by_sides(obs_space: Mapping[str, Space]) -> dict[Sides, dict[str, Space]]:
  """Groups the image keys by (height, width), in order of these."""
  groups: dict[Sides, dict[str, Space]] = {}
  for key, space in obs_space.items():
    if spaces.is_image(space):
      groups.setdefault(space.shape[:2], {})[key] = space
  return dict(sorted(groups.items()))


def image_sides(obs_space: Mapping[str, Space]) -> Sides:
  """Returns the height and width of image keys, which must be the same."""
  (sides,) = by_sides(obs_space)
  return sides


def minimal_sides(obs_space: Mapping[str, Space], halvings: int) -> Sides:
  """Returns the height and width of image keys of one size after halvings."""
  height, width = image_sides(obs_space)
  return height >> halvings, width >> halvings


def check_halvings(
  obs_space: Mapping[str, Space], stages: int, outer: bool = False
) -> None:
  """Refuses images that the halvings of stages do not leave whole and 3..16.

  Args:
    obs_space: Images of any sizes, and other keys.
    stages: Number of `mults`.
    outer: One stage does not halve.

  Raises:
    UserError: With the keys, their sizes and the nearest that would do.
  """
  halvings, groups = stages - outer, by_sides(obs_space)
  wrong = {sides: x for sides, x in groups.items() if not fits(sides, halvings)}
  if not wrong:
    return
  found = ', '.join(
    f'{_keys(keys)} {"has" if len(keys) == 1 else "have"} {shown(sides)} '
    f'({_either(_near(sides, halvings))} would do)'
    for sides, keys in wrong.items()
  )
  other = [
    n + outer
    for n in range(1 - outer, MOST_HALVINGS)
    if all(fits(sides, n) for sides in groups)
  ]
  change = f', or choose {_either(other)} `mults`' if other else ''
  raise UserError(
    f'{halvings} halvings must leave a whole {MIN_SIDE} to {MAX_SIDE} pixels a '
    f'side of each image: {found}. {SCALE}{change}.',
    'mults',
  )


def check_patch(obs_space: Mapping[str, Space], patch: int) -> None:
  """Refuses a patch that does not divide the images.

  Raises:
    UserError: With the keys, their sizes, the nearest that would do, and the
      nearest patches that divide all images.
  """
  groups = by_sides(obs_space)
  divides = lambda size: all(x % size == 0 for sides in groups for x in sides)
  if divides(patch):
    return
  found = ', '.join(
    f'{_keys(keys)} of {shown(sides)} pixels '
    f'({_either(_around(sides, patch, 1))} would do)'
    for sides, keys in groups.items()
    if any(side % patch for side in sides)
  )
  fitting = list(filter(divides, range(1, min(map(min, groups)) + 1)))
  near = [size for size in fitting if size < patch][-1:]
  near += [size for size in fitting if size > patch][:1]
  raise UserError(
    f'must divide each image: {found}. {SCALE}, or choose {_either(near)}.',
    'patch',
    patch,
  )


def fits(sides: Sides, halvings: int) -> bool:
  """Tells whether sides are 3..16 times 2 to the power of halvings."""
  return all(
    side % 2**halvings == 0 and MIN_SIDE <= side >> halvings <= MAX_SIDE
    for side in sides
  )


def shown(sides: Sides) -> str:
  """Writes a size: 64x96."""
  return 'x'.join(map(str, sides))


def _near(sides: Sides, halvings: int) -> list[str]:
  return _around(sides, 2**halvings, MIN_SIDE, MAX_SIDE)


def _around(sides: Sides, unit: int, least: int, most: int = 0) -> list[str]:
  """Writes the sizes of whole units next to this one, the smaller first."""
  limit = lambda n: max(least, min(n, most or n)) * unit
  smaller = tuple(limit(side // unit) for side in sides)
  larger = tuple(limit(-(-side // unit)) for side in sides)
  return list(dict.fromkeys(map(shown, (smaller, larger))))


def _keys(keys: Collection[str]) -> str:
  return ' and '.join(map(repr, sorted(keys)))


def _either(choices: Collection) -> str:
  return ' or '.join(map(str, choices))
