"""Faults of environments: crashes, restarts, broken numbers."""

import dataclasses
import traceback
from collections.abc import Mapping

import numpy as np

from dreamer_nnx.errors import UserError


class EnvError(UserError):
  """An environment broke its contract, or crashed too often."""


@dataclasses.dataclass(frozen=True)
class Fault:
  """Report of a crash, or of the loss of a worker.

  Args:
    restarts: Number of new starts in this step.
    in_a_row: Crashes since an episode ended by itself.
    fatal: Whether the run stops.
  """

  message: str
  restarts: int = 0
  in_a_row: int = 0
  fatal: bool = False


def describe(error: BaseException) -> str:
  """Describes an exception in one line, with the place that raised it."""
  if isinstance(error, EnvError):
    return str(error)
  frames = traceback.extract_tb(error.__traceback__)
  place = f' ({frames[-1].filename}:{frames[-1].lineno})' if frames else ''
  return f'{type(error).__name__}: {_words(error)}{place}'


def _words(error: BaseException) -> str:
  try:
    return str(error)
  except Exception:
    # As Python's own tracebacks have it.
    return '<exception str() failed>'


def check_finite(
  values: Mapping[str, np.ndarray], kind: str, step: int
) -> None:
  """Refuses NaN and infinite numbers in (W, ...) arrays.

  Raises:
    EnvError: Naming the key, the first environment concerned and the step.
  """
  for key, value in values.items():
    if value.dtype.kind != 'f':
      continue
    # Counting takes a third of the time of `all`.
    if np.count_nonzero(np.isfinite(value)) < value.size:
      bad = ~np.isfinite(value).reshape(len(value), -1)
      index = int(np.flatnonzero(bad.any(1))[0])
      number = value.reshape(len(value), -1)[index][bad[index]][0]
      raise EnvError(
        f'{kind} {key!r} of environment {index} is {number} at step {step}; '
        'every number must be finite.'
      )
