"""Numbers of runs, and tables of them."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

DASH = '–'


def finite(value: Any) -> float | None:
  """A finite number of a file, as a float; None for anything else."""
  if isinstance(value, bool) or not isinstance(value, int | float):
    return None
  try:
    number = float(value)
  except OverflowError:
    return None
  return number if math.isfinite(number) else None


def window_mean(
  frames: np.ndarray,
  returns: np.ndarray,
  counts: np.ndarray,
  end: float,
  share: float,
) -> float:
  """Mean return of the episodes that ended in the last `share` before `end`.

  Where none did it is that of the last mean before; NaN if there is none.

  Args:
    frames, returns, counts: As of a run, (N,).
    end: Frames; of a shorter run, its last ones count.
    share: Of `end`, 0 to 1.
  """
  good = (frames <= end) & np.isfinite(returns) & (counts > 0)
  frames, returns, counts = frames[good], returns[good], counts[good]
  if not len(frames):
    return float('nan')
  end = min(end, frames[-1])
  inside = frames > end - share * end
  if not inside.any():
    inside[-1] = True
  return float(np.average(returns[inside], weights=counts[inside]))


def summary(values: Sequence[float]) -> tuple[float, float]:
  """Mean and its standard error; of one value that is NaN."""
  mean, error = float(np.mean(values)), math.nan
  if len(values) > 1:
    error = float(np.std(values, ddof=1) / len(values) ** 0.5)
  return mean, error


def with_error(values: Sequence[float]) -> str:
  """Mean and its standard error, in words; the mean alone of one value."""
  if not len(values):
    return DASH
  mean, error = summary(values)
  return f'{mean:.1f}' if math.isnan(error) else f'{mean:.1f} ± {error:.1f}'


def short(value: float, places: int = 1) -> str:
  """A number with few places after the point, fewer if it is large."""
  places = max(0, places - (abs(value) >= 100) - (abs(value) >= 1000))
  return f'{value:,.{places}f}'


def markdown(columns: Sequence[str], rows: Iterable[tuple[str, ...]]) -> str:
  """A table of Markdown."""
  lines = [tuple(columns), ('---',) * len(columns), *rows]
  return ''.join(f'| {" | ".join(line)} |\n' for line in lines)
