"""Pictures of a step: images side by side, or numbers as bars."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from dreamer_nnx.agent.openloop import BORDER, GREEN, RED, colours
from dreamer_nnx.spaces import is_image
from dreamer_nnx.spacetypes import Space

# Rows of a picture at least, without the line of words above it.
HEIGHT, LINE, GAP = 256, 16, 4
# Of a plot of numbers, and how many of them it has at most.
WIDTH, MOST = 256, 64
PAPER, INK, GRAY, AXIS = 255, (20, 20, 20), (150, 170, 200), (200, 200, 200)
MARK = (210, 60, 30)

Values = Mapping[str, np.ndarray]


class Column(NamedTuple):
  """A part of a picture.

  Args:
    title: Words above it.
    images: (H, W, C) uint8, side by side.
    border: Colour around it; () for none.
  """

  title: str
  images: Sequence[np.ndarray]
  border: tuple[int, ...] = ()


def picture(columns: Sequence[Column]) -> np.ndarray:
  """Draws columns side by side, (H, W, 3) uint8.

  All images are as high as the highest, which is enlarged to HEIGHT rows at
  least; pixels are repeated or left out.
  """
  tallest = max(x.shape[0] for column in columns for x in column.images)
  height = tallest * max(1, -(-HEIGHT // tallest))
  parts = [_column(column, height) for column in columns]
  return np.concatenate(parts, 1)


def scaled(image: np.ndarray, height: int) -> np.ndarray:
  """An image (H, W, 3) of so many rows, by its nearest pixels."""
  rows, width = image.shape[:2]
  wide = max(1, round(width * height / rows))
  if (rows, width) == (height, wide):
    return image
  down = np.arange(height) * rows // height
  right = np.arange(wide) * width // wide
  return image[down[:, None], right]


def _column(column: Column, height: int) -> np.ndarray:
  images = [scaled(np.asarray(colours(x)), height) for x in column.images]
  inside = np.concatenate(images, 1)
  frame = np.full((height + 2 * GAP, inside.shape[1] + 2 * GAP, 3), PAPER)
  frame = frame.astype(np.uint8)
  if column.border:
    frame[BORDER:-BORDER, BORDER:-BORDER] = column.border
  frame[GAP:-GAP, GAP:-GAP] = inside
  words = Image.new('RGB', (frame.shape[1], LINE), (PAPER,) * 3)
  ImageDraw.Draw(words).text((GAP, 2), column.title, fill=INK)
  return np.concatenate([np.asarray(words), frame])


def border(observed: bool) -> tuple[int, int, int]:
  """The colour around what is predicted: of a state observed, or imagined."""
  return GREEN if observed else RED


class Plots:
  """Plots of vectors: their numbers as bars, those predicted as marks.

  The scale of a plot grows with the numbers of the episode.
  """

  def __init__(self):
    self._most: dict[str, float] = {}

  def draw(self, key: str, seen: np.ndarray, told: np.ndarray | None):
    """Draws a vector, and its prediction if there is one."""
    size, seen = np.size(seen), np.ravel(seen).astype(np.float64)[:MOST]
    told = None if told is None else np.ravel(told).astype(np.float64)[:MOST]
    both = seen if told is None else np.concatenate([seen, told])
    finite = np.abs(both[np.isfinite(both)])
    most = max([self._most.get(key, 1e-6), *finite])
    self._most[key] = most
    plot = Image.new('RGB', (WIDTH, HEIGHT), (PAPER,) * 3)
    draw = ImageDraw.Draw(plot)
    middle, wide = HEIGHT // 2, WIDTH / max(1, seen.size)
    # What is not finite is drawn at an end; no number is no height.
    part = lambda x: np.nan_to_num(np.clip(x / most, -1, 1))
    place = lambda x: middle - part(x) * (middle - LINE)
    draw.line((0, middle, WIDTH, middle), fill=AXIS)
    for index, number in enumerate(seen):
      left, right = (index + 0.1) * wide, (index + 0.9) * wide
      top, bottom = sorted((middle, place(number)))
      draw.rectangle((left, top, right, bottom), fill=GRAY)
      if told is not None and index < told.size:
        at = place(told[index])
        draw.line((left, at, right, at), fill=MARK, width=2)
    left_out = f' (first {MOST} of {size})' if size > MOST else ''
    draw.text((GAP, 2), f'{key}{left_out}  ±{most:.3g}', fill=INK)
    return np.asarray(plot)


def image_keys(obs_space: Mapping[str, Space]) -> list[str]:
  """Keys of the images, in order."""
  return [key for key, space in obs_space.items() if is_image(space)]
