"""Checks of the replay's settings and of what it is given."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamer_nnx.errors import UserError

WHERE = 'config.replay.chunked'

_INF = float('inf')
_SHARES = ('uniform', 'priority', 'recency')
_RANGES = {
  'chunk_size': (1, _INF),
  'context': (0, _INF),
  'consec': (1, _INF),
  'save_waiting': (0.0, _INF),
  'priority_exponent': (0.0, _INF),
  'priority_max_fraction': (0.0, 1.0),
  'priority_initial': (0.0, _INF),
  'recency_exponent': (0.0, _INF),
  **dict.fromkeys(_SHARES, (0.0, _INF)),
}


def count_groups(
  capacity: int,
  chunk_size: int,
  num_envs: int,
  length: int,
  ready: int,
  steps: int = 0,
) -> int:
  """Groups of chunks that fit in the capacity, or hold so many steps.

  Right after a group was recycled, `ready` starts must still be held.
  """
  unit = num_envs * chunk_size
  least = 1 + -(-(ready + num_envs * (length - 1)) // unit)
  if capacity < least * unit:
    raise UserError(
      f'{WHERE}.capacity = {capacity}: {num_envs} workers with chunks of '
      f'{chunk_size} steps, and {ready} sequences of {length} steps to train '
      f'on, need at least {least * unit}. Raise it or lower '
      f'{WHERE}.chunk_size.'
    )
  groups = capacity // unit
  return min(groups, max(least, -(-steps // unit))) if steps else groups


def check_range(name: str, value: float, low: float, high: float) -> None:
  if not low <= value <= high:
    bound = f'at least {low}'
    if high < _INF:
      bound = f'in [{low}, {high}]'
    raise UserError(f'{WHERE}.{name} = {value}: must be {bound}.')


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


def check_settings(settings: Any) -> None:
  """Checks the fields of a replay, each for itself, and the shares."""
  for name, (low, high) in _RANGES.items():
    check_range(name, getattr(settings, name), low, high)
  if not any(getattr(settings, name) for name in _SHARES):
    raise UserError(
      f'{WHERE}: {", ".join(_SHARES)} are all 0, so nothing draws '
      'sequences. Give at least one of them a share above 0.'
    )
