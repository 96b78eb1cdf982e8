"""Random shifts of images."""

from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp

from dreamer_nnx import streams
from dreamer_nnx.augmentations.images import change, image_spaces
from dreamer_nnx.contracts import Observation
from dreamer_nnx.errors import UserError
from dreamer_nnx.schema import Range
from dreamer_nnx.slots import AUGMENTATION
from dreamer_nnx.spacetypes import Space


@AUGMENTATION.register('random_shift')
class RandomShift:
  """Moves images by up to `pad` pixels in any direction.

    y = padded[dy : dy + H, dx : dx + W],   dy, dx uniform on 0 ... 2 pad

  What comes in at a border repeats the pixel there. All image keys of a row
  move alike, in pixels, so that what they show of one place stays together;
  images of different sizes do so, too. Vectors stay.

  Args:
    pad: Most pixels that an image moves by; 0 leaves it out.
    shared: All steps of a sequence move alike. If each one moves by itself,
      what is seen jumps about, which the dynamics cannot predict.

  Raises:
    UserError: There is no image key, or `pad` is as long as an image's side.

  Source: Kostrikov et al. 2020 (arXiv 2004.13649).
  """

  def __init__(
    self,
    obs_space: Mapping[str, Space],
    *,
    pad: Annotated[int, Range(0)] = 4,
    shared: bool = True,
  ):
    self.images = image_spaces(obs_space)
    side, key = min((min(x.shape[:2]), k) for k, x in self.images.items())
    if pad >= side:
      raise UserError(f'must be below {side}, a side of {key!r}.', 'pad', pad)
    self.pad, self.shared = pad, shared

  @property
  def scale(self) -> float:
    """The most that an image moves; with 0 it is left out."""
    return float(self.pad)

  def __call__(self, inputs: Observation, key: jax.Array) -> Observation:
    def draw(rows):
      # (N, 2), of height and width.
      offsets = jax.random.randint(
        streams.at(key, 'offsets'), (rows, 2), 0, 2 * self.pad + 1
      )
      return lambda images: shift(images, offsets, self.pad)

    return change(inputs, self.images, self.shared, draw)


def shift(images: jax.Array, offsets: jax.Array, pad: int) -> jax.Array:
  """Cuts images out of their padded forms.

  Args:
    images: (N, S, H, W, C).
    offsets: Where each row begins, (N, 2) of 0 ... 2 pad; `pad` moves nothing.
  """
  border = (pad, pad)
  padded = jnp.pad(images, ((0, 0), (0, 0), border, border, (0, 0)), 'edge')

  def cut(padded, offset):
    start = 0, offset[0], offset[1], 0
    return jax.lax.dynamic_slice(padded, start, images.shape[1:])

  return jax.vmap(cut)(padded, offsets)
