"""Changes of image keys alone, drawn for each sequence or for each step."""

from collections.abc import Callable, Mapping

import jax

from dreamer_nnx import spaces
from dreamer_nnx.contracts import Observation
from dreamer_nnx.errors import UserError
from dreamer_nnx.spacetypes import Space


def image_spaces(obs_space: Mapping[str, Space]) -> dict[str, Space]:
  """Selects the image keys; UserError if there are none."""
  images = {k: s for k, s in obs_space.items() if spaces.is_image(s)}
  if images:
    return images
  raise UserError(
    'there is no image to augment, only '
    f'{", ".join(map(repr, sorted(obs_space)))}. Leave it out of '
    'config.augmentations.names.'
  )


def change(
  inputs: Observation,
  keys: Mapping[str, Space],
  shared: bool,
  draw: Callable[[int], Callable[[jax.Array], jax.Array]],
) -> Observation:
  """Changes images, those of all keys alike.

  Args:
    inputs: Observations (B, T, ...).
    keys: The image keys.
    shared: All steps of a sequence are changed alike.
    draw: From a number of rows N, makes a function: images (N, S, H, W, C) to
      others, of which the S steps of a row are changed alike.
  """
  batch, length = inputs[next(iter(keys))].shape[:2]
  lead = (batch, length) if shared else (batch * length, 1)
  apply = draw(lead[0])
  changed = dict(inputs)
  for key in keys:
    x = inputs[key]
    # (B, T, H, W, C) to (N, S, H, W, C), and back.
    rows = x.reshape(*lead, *x.shape[2:])
    changed[key] = apply(rows).reshape(x.shape)
  return changed
