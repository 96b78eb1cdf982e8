"""Images that are drawn only when they are asked for."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dreamer_nnx.nn.portions import in_portions
from dreamer_nnx.numerics import outputs

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Rendering:
  """Squared error to images, of which a few at a time are in memory.

    loss = Σ (render(maps) - target)²

  The loss, summed over the image, is all that leaves the loop over the images.

  Args:
    render: From maps (n, ...) to means (n, H, W, C).
    maps: (..., h, w, c).
    size: Images at a time.
  """

  render: Callable[[Array], Array]
  maps: Array
  size: int

  def pred(self) -> Array:
    mean = lambda maps: outputs.MSE(self.render(maps)).pred()
    return self._each(mean, self._rows(self.maps))

  def loss(self, target: Array) -> Array:
    rows = self._rows(self.maps), self._rows(jax.lax.stop_gradient(target))
    return self._each(self._loss, *rows)

  def _loss(self, maps: Array, target: Array) -> Array:
    loss = outputs.MSE(self.render(maps)).loss(target)
    # A sum as a product is several times faster here than as a reduction.
    flat = loss.reshape(len(loss), -1)
    return flat @ jnp.ones((flat.shape[-1],), flat.dtype)

  def _rows(self, x: Array) -> Array:
    return x.reshape(-1, *x.shape[-3:])

  def _each(self, function: Callable, *rows: Array) -> Array:
    y = in_portions(function, self.size, *rows)
    return y.reshape(*self.maps.shape[:-3], *y.shape[1:])
