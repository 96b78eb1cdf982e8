"""Random crops of images, enlarged to the size that they had."""

from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp

from dreamer_nnx import streams
from dreamer_nnx.augmentations.images import change, image_spaces
from dreamer_nnx.contracts import Observation
from dreamer_nnx.schema import Range
from dreamer_nnx.slots import AUGMENTATION
from dreamer_nnx.spacetypes import Space


@AUGMENTATION.register('crop')
class Crop:
  """Shows a window of each image at a random place, enlarged to its size.

  The window has s of the height and of the width, with s uniform on
  [share, 1]. A fixed s would show the encoder enlarged images alone, while it
  sees whole ones as soon as the agent acts. Pixels between others are mixed
  linearly, and rounded. All image keys of a row show the same part. Vectors
  stay.

  Args:
    share: Least share of the height and width that is shown; with 1 nothing
      changes.
    shared: All steps of a sequence show the same part. If each one shows its
      own, what is seen jumps about, which the dynamics cannot predict.

  Raises:
    UserError: There is no image key.

  Source: Laskin et al. 2020 (arXiv 2004.14990), with the sizes of the windows
  drawn, too.
  """

  def __init__(
    self,
    obs_space: Mapping[str, Space],
    *,
    share: Annotated[float, Range(high=1, above=0)] = 0.8,
    shared: bool = True,
  ):
    self.images = image_spaces(obs_space)
    self.share, self.shared = share, shared

  @property
  def scale(self) -> float:
    """The most that is cut off; with 0 it is left out."""
    return 1 - self.share

  def __call__(self, inputs: Observation, key: jax.Array) -> Observation:
    def draw(rows):
      size = jax.random.uniform(
        streams.at(key, 'size'), (rows, 1), minval=self.share, maxval=1.0
      )
      # (N, 2), of height and width.
      place = jax.random.uniform(streams.at(key, 'place'), (rows, 2))
      return lambda images: crop(images, size, place * (1 - size))

    return change(inputs, self.images, self.shared, draw)


def crop(images: jax.Array, size: jax.Array, start: jax.Array) -> jax.Array:
  """Enlarges windows.

  As a product with weights of rows and one with weights of columns, which
  every device is good at. Whole numbers up to 255 are exact in any format of
  it.

  Args:
    images: uint8 (N, S, H, W, C).
    size: Shares of the sides, (N, 1).
    start: Where the windows begin, as shares (N, 2) of height and width.
  """
  height, width = images.shape[2:4]
  rows = weights(height, size, start[:, :1])
  columns = weights(width, size, start[:, 1:])
  x = jnp.einsum('nyh,nshwc->nsywc', rows, images.astype(jnp.float32))
  x = jnp.einsum('nxw,nsywc->nsyxc', columns, x)
  return jnp.round(x).astype(images.dtype)


def weights(side: int, size: jax.Array, start: jax.Array) -> jax.Array:
  """Computes what the pixels of an axis count for those of its window.

  Pixel y of the window is at (y + 1/2) size + start · side - 1/2; of a pixel i
  it has max(0, 1 - |i - place|).

  Args:
    size, start: (N, 1).

  Returns:
    (N, side, side); the last axis adds up to 1.
  """
  index = jnp.arange(side, dtype=jnp.float32)
  place = (index + 0.5) * size + start * side - 0.5
  # (N, y) to (N, y, i); beyond the centre of the last pixel there is only that.
  place = jnp.clip(place, 0, side - 1)[..., None]
  return jnp.maximum(0, 1 - jnp.abs(index - place))
