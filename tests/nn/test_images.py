"""Image sizes that a stack of halvings admits."""

import re

import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx.nn.images import image_sides, minimal_sides


def image(height, width, channels=3):
  return gs.Box(0, 255, (height, width, channels), np.uint8)


def test_sides_that_all_images_share():
  space = {'left': image(12, 20), 'right': image(12, 20, 1)}
  assert image_sides(space) == (12, 20)


def test_images_of_different_sizes_are_refused():
  space = {'left': image(12, 20), 'right': image(20, 12)}
  message = (
    'all image keys must have one size, got '
    "{'left': (12, 20), 'right': (20, 12)}."
  )
  with pytest.raises(ValueError, match=re.escape(message)):
    image_sides(space)


@pytest.mark.parametrize(
  ('sides', 'halvings', 'expected'),
  [
    ((64, 64), 4, (4, 4)),
    ((96, 64), 4, (6, 4)),
    ((3, 16), 0, (3, 16)),
    ((12, 32), 1, (6, 16)),
  ],
)
def test_sides_after_halvings(sides, halvings, expected):
  assert minimal_sides(sides, halvings) == expected


@pytest.mark.parametrize(
  ('sides', 'halvings'), [((64, 60), 4), ((64, 32), 4), ((34, 16), 1)]
)
def test_sides_that_do_not_fit_are_refused(sides, halvings):
  message = (
    f'mults: {halvings} halvings of an image of {sides[0]}x{sides[1]} pixels '
    'must leave a whole 3 to 16 pixels a side. Change the image size or the '
    'number of `mults`.'
  )
  with pytest.raises(ValueError, match=re.escape(message)):
    minimal_sides(sides, halvings)
