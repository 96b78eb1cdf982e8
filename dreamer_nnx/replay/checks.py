"""Checks of what the replay is given."""

from collections.abc import Mapping

import numpy as np


def check_shape(what: str, value: np.ndarray, shape: tuple[int, ...]) -> None:
  if value.shape != shape:
    raise ValueError(f'replay: {what} is {value.shape}, not {shape}.')


def check_steps(
  steps: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]
) -> None:
  """Checks one step (W, ...) against arrays of (W, time, ...)."""
  given = {key for key in steps if not key.startswith('log/')}
  if given != arrays.keys():
    raise ValueError(
      'replay: steps must have the keys of the spaces; missing '
      f'{sorted(arrays.keys() - given)}, unknown '
      f'{sorted(given - arrays.keys())}.'
    )
  for key, array in arrays.items():
    value = np.asarray(steps[key])
    check_shape(f"'{key}'", value, (len(array), *array.shape[2:]))
    if not np.can_cast(value.dtype, array.dtype, 'same_kind'):
      raise TypeError(
        f"replay: '{key}' is {value.dtype}, its space is {array.dtype}."
      )


def check_finite(what: str, value: np.ndarray) -> None:
  if not np.isfinite(value).all():
    raise ValueError(f'replay: {what} is NaN or infinite somewhere.')
