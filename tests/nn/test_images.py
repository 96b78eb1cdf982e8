"""Sizes of images, and those that halvings and patches admit."""

import re

import numpy as np
import pytest
from gymnasium import spaces as gs

from dreamer_nnx.errors import UserError
from dreamer_nnx.nn.images import (
  by_sides,
  check_halvings,
  check_patch,
  minimal_sides,
)

SCALE = 'Scale images in the environment (`image_size`, where it has that)'


def image(height, width, channels=3):
  return gs.Box(0, 255, (height, width, channels), np.uint8)


def images(*sizes):
  return {key: image(*x) for key, x in zip('abc', sizes, strict=False)}


def test_images_are_grouped_by_size_in_order_of_it():
  space = images((64, 32), (100, 20), (64, 32, 1)) | {'goal': gs.Discrete(3)}
  a, b, c = (space[key] for key in 'abc')
  groups = by_sides(space)
  assert list(groups.items()) == [
    ((64, 32), {'a': a, 'c': c}),
    ((100, 20), {'b': b}),
  ]
  assert by_sides({'goal': gs.Discrete(3)}) == {}


@pytest.mark.parametrize(
  ('sides', 'halvings', 'expected'),
  [
    ((64, 64), 4, (4, 4)),
    ((96, 64), 4, (6, 4)),
    ((80, 112), 4, (5, 7)),
    ((3, 16), 0, (3, 16)),
    ((12, 32), 1, (6, 16)),
  ],
)
def test_sides_after_halvings(sides, halvings, expected):
  space = images(sides, (*sides, 1))
  assert minimal_sides(space, halvings) == expected
  check_halvings(space | {'goal': gs.Discrete(3)}, halvings)
  check_halvings(space, halvings + 1, outer=True)


def test_without_images_any_number_of_halvings_will_do():
  check_halvings({'goal': gs.Discrete(3)}, 30)
  check_patch({'goal': gs.Discrete(3)}, 30)


@pytest.mark.parametrize(
  ('sizes', 'stages', 'found', 'mults'),
  [
    ([(84, 84)], 4, "'a' has 84x84 (80x80 or 96x96 would do)", ''),
    ([(100, 100)], 4, "'a' has 100x100 (96x96 or 112x112 would do)", ''),
    ([(210, 160)], 4, "'a' has 210x160 (208x160 or 224x160 would do)", ''),
    ([(72, 96)], 4, "'a' has 72x96 (64x96 or 80x96 would do)", '3'),
    ([(300, 64)], 4, "'a' has 300x64 (256x64 would do)", ''),
    ([(20, 300)], 4, "'a' has 20x300 (48x256 would do)", ''),
    ([(64, 60)], 4, "'a' has 64x60 (64x48 or 64x64 would do)", '2'),
    ([(64, 64), (32, 32)], 4, "'b' has 32x32 (48x48 would do)", '2 or 3'),
    ([(10, 10)], 2, "'a' has 10x10 (12x12 would do)", '1'),
    (
      [(84, 84), (64, 64), (84, 84, 1)],
      4,
      "'a' and 'c' have 84x84 (80x80 or 96x96 would do)",
      '',
    ),
    (
      [(65, 65), (64, 64), (9, 9)],
      2,
      "'c' has 9x9 (12x12 would do), 'a' has 65x65 (64x64 would do)",
      '',
    ),
  ],
)
def test_sides_that_do_not_fit_are_refused(sizes, stages, found, mults):
  change = f', or choose {mults} `mults`' if mults else ''
  with pytest.raises(UserError) as error:
    check_halvings(images(*sizes), stages)
  assert str(error.value) == (
    f'mults: {stages} halvings must leave a whole 3 to 16 pixels a side of '
    f'each image: {found}. {SCALE}{change}.'
  )


def test_numbers_of_mults_count_the_stage_that_does_not_halve():
  message = re.escape('mults: 4 halvings') + '.*or choose 3 or 4 `mults`'
  with pytest.raises(UserError, match=message):
    check_halvings(images((64, 64), (32, 32)), 5, outer=True)


@pytest.mark.parametrize(
  ('sizes', 'patch', 'found', 'near'),
  [
    ([(64, 64)], 7, "'a' of 64x64 pixels (63x63 or 70x70 would do)", '4 or 8'),
    ([(48, 36)], 5, "'a' of 48x36 pixels (45x35 or 50x40 would do)", '4 or 6'),
    ([(8, 12)], 9, "'a' of 8x12 pixels (9x9 or 9x18 would do)", '4'),
    (
      [(84, 84), (64, 64)],
      8,
      "'a' of 84x84 pixels (80x80 or 88x88 would do)",
      '4',
    ),
  ],
)
def test_a_patch_that_does_not_fit_is_refused(sizes, patch, found, near):
  with pytest.raises(UserError) as error:
    check_patch(images(*sizes), patch)
  assert str(error.value) == (
    f'patch = {patch}: must divide each image: {found}. {SCALE}, or choose '
    f'{near}.'
  )
