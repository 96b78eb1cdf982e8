"""An MLP of the vectors beside a network of the images."""

import functools
from collections.abc import Callable, Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
from flax import nnx

from dreamer_nnx import contracts, spaces
from dreamer_nnx.nn.forms import Portions
from dreamer_nnx.nn.images import by_sides, shown
from dreamer_nnx.nn.mlp import MLP
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.nn.vectors import concat_vectors, vector_size
from dreamer_nnx.numerics.squash import symlog as symlog_fn
from dreamer_nnx.spacetypes import Space

Spaces = Mapping[str, Space]


class Part(Protocol):
  """Encoder of some of the keys, to `output_size` numbers."""

  output_size: int

  def __call__(self, obs: contracts.Observation) -> jax.Array: ...


class JoinedEncoder(nnx.Module):
  """Concatenates the features of an MLP of vectors and of a part for images.

  Either is built only if there are keys for it. Images of different sizes
  have a part for each size, see `BySize`.

  Args:
    images: Builds a part, of the spaces of image keys of one size and by
      keyword of act, norm, winit, precision and rngs.
    layers, units, symlog: As of `VectorEncoder`.
  """

  def __init__(
    self,
    obs_space: Spaces,
    images: Callable[..., Part],
    *,
    layers: int,
    units: int,
    symlog: bool,
    **kw,
  ):
    pixels, vectors = by_kind(obs_space)
    self.token_size = 0
    self.vectors, self.images = nnx.data(None), nnx.data(None)
    if vectors:
      self.vectors = VectorEncoder(
        vectors, layers=layers, units=units, symlog=symlog, **kw
      )
      self.token_size += self.vectors.output_size
    if pixels:
      one = len(by_sides(pixels)) == 1
      build = images if one else functools.partial(BySize, images)
      self.images = build(pixels, **kw)
      self.token_size += self.images.output_size

  def __call__(self, obs: contracts.Observation) -> jax.Array:
    parts = [part(obs) for part in (self.vectors, self.images) if part]
    return jnp.concatenate(parts, -1)


class BySize(nnx.Module):
  """Concatenates the features of parts, one for the images of each size.

  In order of (height, width), under names such as `64x96`. Images of one size
  alone need none of this, and have no such name in theirs.

  Args:
    images: As of `JoinedEncoder`.
  """

  def __init__(self, images: Callable[..., Part], obs_space: Spaces, **kw):
    parts = {shown(x): images(k, **kw) for x, k in by_sides(obs_space).items()}
    self.order, self.sizes = tuple(parts), nnx.data(parts)
    self.output_size = sum(part.output_size for part in parts.values())

  def __call__(self, obs: contracts.Observation) -> jax.Array:
    return jnp.concatenate([self.sizes[x](obs) for x in self.order], -1)


def by_kind(obs_space: Spaces) -> tuple[dict[str, Space], dict[str, Space]]:
  """Splits spaces into those of images and those of vectors."""
  images = {k: s for k, s in obs_space.items() if spaces.is_image(s)}
  return images, {k: s for k, s in obs_space.items() if k not in images}


class VectorEncoder(nnx.Module):
  """MLP of all vector keys in sorted order.

  Args:
    layers, units: Of the MLP.
    symlog: Squashes continuous vectors.
  """

  def __init__(
    self, obs_space, *, layers, units, symlog, precision, rngs, **kw
  ):
    self.space = dict(obs_space)
    self.squash = squashing(symlog)
    self.precision = precision
    self.mlp = MLP(
      vector_size(obs_space),
      layers=layers,
      units=units,
      precision=precision,
      rngs=rngs,
      **kw,
    )
    self.output_size = self.mlp.output_size

  def __call__(self, obs: contracts.Observation) -> jax.Array:
    dtype = self.precision.compute_dtype
    x = concat_vectors(self.space, obs, squash=self.squash, dtype=dtype)
    return self.mlp(x)


def squashing(symlog: bool) -> Callable[[jax.Array], jax.Array]:
  """Chooses what continuous vectors go through: symlog, or nothing."""
  return symlog_fn if symlog else lambda x: x


class StackedImages(nnx.Module):
  """Reads image keys of one size, their channels side by side in sorted order.

  A subclass encodes them by `encoding(count)`, which makes a function: pixels
  (N, H, W, C) in [-1/2, 1/2] to features (N, E). What all images share of the
  work is done when it is made, once, for `count` images in all.

  Args:
    numbers: How many the largest intermediate result holds for one image.
  """

  def __init__(self, obs_space: Spaces, numbers: int, precision: Precision):
    self.keys = tuple(sorted(obs_space))
    self.precision = precision
    self.portions = Portions(numbers, precision)

  def __call__(self, obs: contracts.Observation) -> jax.Array:
    images = jnp.concatenate([obs[k] for k in self.keys], -1)
    # (..., H, W, C) to (N, H, W, C), and tokens (N, E) to (..., E).
    rows = images.reshape(-1, *images.shape[-3:])
    encode = self.encoding(rows.shape[0])
    tokens = self.portions(lambda x: encode(pixels(x, self.precision)), rows)
    return tokens.reshape(*images.shape[:-3], -1)

  def encoding(self, count: int) -> Callable[[jax.Array], jax.Array]:
    """Makes the function of pixels (N, H, W, C) to (N, E), in each subclass."""
    raise NotImplementedError


def pixels(images: jax.Array, precision: Precision) -> jax.Array:
  """Brings uint8 images to [-1/2, 1/2], in the compute format."""
  return precision.cast(images) / 255 - 0.5


def channels(obs_space: Spaces) -> int:
  """Counts the channels of all image keys."""
  return sum(space.shape[-1] for space in obs_space.values())
