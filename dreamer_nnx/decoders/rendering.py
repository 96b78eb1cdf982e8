"""Outputs over images: all of them, or a few that are drawn when asked for."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dreamer_nnx import contracts
from dreamer_nnx.nn.forms import Portions
from dreamer_nnx.numerics import outputs

Array = jax.Array


def image_outputs(
  render: Callable[[Array], Array],
  maps: Array,
  channels: Mapping[str, int],
  portions: Portions,
) -> dict[str, contracts.Output]:
  """Makes one output of squared error for each image key.

  Args:
    render: Draws maps (N, h, w, c) to means (N, H, W, C) of all keys.
    maps: (..., h, w, c).
    channels: Number of channels, of the C, that each key has, in order.
    portions: Number of images to work on at a time.
  """
  if portions.few and len(channels) == 1:
    return {key: Rendering(render, maps, portions) for key in channels}
  # (..., h, w, c) to (N, h, w, c), and (N, H, W, C) to (..., H, W, C).
  mean = render(maps.reshape(-1, *maps.shape[-3:]))
  mean = mean.reshape(*maps.shape[:-3], *mean.shape[1:])
  bounds = np.cumsum(list(channels.values()))[:-1]
  parts = jnp.split(mean, bounds, -1)
  return {
    key: outputs.event(outputs.MSE(part), 3)
    for key, part in zip(channels, parts, strict=True)
  }


@dataclasses.dataclass(frozen=True)
class Rendering:
  """Squared error to images, of which a few at a time are in memory.

    loss = Σ (render(maps) - target)²

  The loss, summed over the image, is all that leaves the loop over the images.

  Args:
    render: Draws maps (n, h, w, c) to means (n, H, W, C).
    maps: (..., h, w, c).
  """

  render: Callable[[Array], Array]
  maps: Array
  portions: Portions

  def pred(self) -> Array:
    mean = lambda maps: outputs.MSE(self.render(maps)).pred()
    return self._each(mean, self._rows(self.maps))

  def loss(self, target: Array) -> Array:
    rows = self._rows(self.maps), self._rows(jax.lax.stop_gradient(target))
    return self._each(self._loss, *rows)

  def _loss(self, maps: Array, target: Array) -> Array:
    loss = outputs.MSE(self.render(maps)).loss(target)
    # (n, H, W, C) to (n, H·W·C), to sums (n,). A sum as a product is several
    # times faster here than as a reduction.
    flat = loss.reshape(len(loss), -1)
    return flat @ jnp.ones((flat.shape[-1],), flat.dtype)

  def _rows(self, x: Array) -> Array:
    """Joins the leading axes: (..., H, W, C) to (N, H, W, C)."""
    return x.reshape(-1, *x.shape[-3:])

  def _each(self, function: Callable, *rows: Array) -> Array:
    y = self.portions(function, *rows)
    # (N, ...) to leading axes of the maps.
    return y.reshape(*self.maps.shape[:-3], *y.shape[1:])
