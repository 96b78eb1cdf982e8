"""Open-loop predictions: observe half a sequence, imagine the other half."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from dreamer_nnx import contracts, spaces, streams
from dreamer_nnx.acting.dream import open_loop
from dreamer_nnx.contracts import Replayed
from dreamer_nnx.spacetypes import Space

Array = jax.Array
SEQUENCES = 6
BORDER = 2
GREEN, RED = (0, 255, 0), (255, 0, 0)


def videos(
  replayed: Replayed, obs_space: Mapping[str, Space], key: Array
) -> dict[str, Array]:
  """Draws truth, prediction and error of up to 6 sequences, side by side.

  The border is green while observing and red while imagining with the true
  actions.

  Args:
    replayed: (B, T, ...).
    obs_space: Spaces of the observations.

  Returns:
    {image key: (T, 3 H + ..., B (W + 4), 3) uint8}, of images that are decoded.
  """
  images = [k for k, space in obs_space.items() if spaces.is_image(space)]
  if not images:
    return {}
  half = replayed.tokens.shape[1] // 2
  recons = replayed.world.decoder(unrolled(replayed, half, key, SEQUENCES))
  return {
    k: grid(replayed.steps[k][:SEQUENCES], recons[k].pred(), half)
    for k in images
    if k in recons
  }


def unrolled(
  replayed: Replayed, seen: int, key: Array, count: int | None = None
) -> contracts.Feat:
  """Observes the first steps and imagines the others, by the true actions.

  Args:
    replayed: (B, T, ...).
    seen: Steps that are observed.
    count: Sequences to take; all by default.

  Returns:
    Features (B, T, n).
  """
  world = replayed.world
  few = lambda x: x[:count]
  early = lambda x: x[:count, :seen]
  late = lambda x: x[:count, seen:]
  carry, observed = world.dynamics.observe(
    jax.tree.map(few, replayed.carry),
    early(replayed.tokens),
    jax.tree.map(early, replayed.before),
    early(replayed.steps['is_first']),
    streams.at(key, 'observe'),
  )
  action = jax.tree.map(late, replayed.before)
  imagined = open_loop(
    world.dynamics, carry, action, streams.at(key, 'predict')
  )
  # (B, seen, ...) and (B, T - seen, ...) to (B, T, ...).
  feat = observed.feat
  return {k: jnp.concatenate([feat[k], imagined[k]], 1) for k in imagined}


def grid(true: Array, prediction: Array, half: int) -> Array:
  """Stacks (B, T, H, W, C) uint8 truth, [0, 1] prediction and their error."""
  pred = jnp.clip(prediction * 255, 0, 255).astype(jnp.uint8)
  error = (pred.astype(jnp.int32) - true.astype(jnp.int32) + 255) // 2
  video = jnp.concatenate([true, pred, error.astype(jnp.uint8)], 2)
  video = colours(video)
  color = jnp.full((video.shape[1], 3), jnp.array(GREEN), jnp.uint8)
  color = color.at[half:].set(jnp.array(RED, jnp.uint8))
  framed = jnp.pad(video, [(0, 0)] * 2 + [(BORDER, BORDER)] * 2 + [(0, 0)])
  inside = jnp.zeros(framed.shape[2:4], bool)
  inside = inside.at[BORDER:-BORDER, BORDER:-BORDER].set(True)
  border = color[None, :, None, None, :]
  framed = jnp.where(inside[..., None], framed, border)
  batch, time, height, width, channels = framed.shape
  # (B, T, H', W', C) to (T, H', B, W', C), to (T, H', B·W', C).
  rows = framed.transpose(1, 2, 0, 3, 4)
  return rows.reshape(time, height, batch * width, channels)


def colours(image: Array) -> Array:
  """Three channels (..., 3) to look at, of any number (..., C).

  Gray stays gray, two channels are red and green, four are colours and what is
  left out, for instance opacity. Of more, which are frames, the last three:
  the newest of frames in colour, the three newest of gray ones.
  """
  channels = image.shape[-1]
  if channels == 1:
    return image.repeat(3, -1)
  if channels == 2:
    return jnp.pad(image, [(0, 0)] * (image.ndim - 1) + [(0, 1)])
  return image[..., :3] if channels <= 4 else image[..., -3:]
