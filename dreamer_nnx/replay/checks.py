"""Checks of what the replay is given."""

from collections.abc import Mapping

import numpy as np


def check_shape(what: str, value: np.ndarray, shape: tuple[int, ...]) -> None:
  if value.shape != shape:
    raise ValueError(f'replay: {what} is {value.shape}, not {shape}.')


def check_steps(
  steps: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]
) -> None:
  """Checks one step (W, ...) against arrays of (W, time, ...).

  The keys `latent/*` may be absent, all of them.
  """
  given = {key for key in steps if not key.startswith('log/')}
  if not any(key.startswith('latent/') for key in given):
    arrays = {k: x for k, x in arrays.items() if not k.startswith('latent/')}
  if given != arrays.keys():
    raise ValueError(
      'replay: steps must have the keys of the spaces; missing '
      f'{sorted(arrays.keys() - given)}, unknown '
      f'{sorted(given - arrays.keys())}.'
    )
  for key, array in arrays.items():
    value = np.asarray(steps[key])
    check_shape(f"'{key}'", value, (len(array), *array.shape[2:]))
    check_format(key, value, array)


def check_entries(
  entries: Mapping[str, np.ndarray],
  flat: Mapping[str, np.ndarray],
  shape: tuple[int, ...],
) -> None:
  """Checks what is written back at rows of the given shape.

  Raises:
    ValueError: A name that is not of an entry, or another shape.
    TypeError: A value cannot become its space's dtype without loss.
  """
  for key, value in entries.items():
    if not key.startswith('latent/') or key not in flat:
      known = [k for k in flat if k.startswith('latent/')]
      raise ValueError(f'replay: {key!r} cannot be written back, only {known}.')
    check_shape(f'{key!r}', value, (*shape, *flat[key].shape[1:]))
    check_format(key, value, flat[key])


def check_format(key: str, value: np.ndarray, array: np.ndarray) -> None:
  if not np.can_cast(value.dtype, array.dtype, 'same_kind'):
    raise TypeError(
      f"replay: '{key}' is {value.dtype}, its space is {array.dtype}."
    )
