"""Values of metrics that a logger can show: scalars and videos."""

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np


def scalars(metrics: Mapping[str, Any]) -> dict[str, int | float]:
  """The numbers, as Python ones; a truth value counts as 0 or 1."""
  found = {name: number(value) for name, value in metrics.items()}
  return {name: value for name, value in found.items() if value is not None}


def number(value: Any) -> int | float | None:
  """A Python number of a real scalar; None of anything else."""
  if isinstance(value, numbers.Integral | np.bool_):
    return int(value)
  if isinstance(value, numbers.Real):
    return float(value)
  if np.ndim(value) or not hasattr(value, 'dtype'):
    return None
  # Arrays of rank 0, and bfloat16, which is no number to Python.
  value = np.asarray(value)
  integer = value.dtype.kind in 'biu'
  real = integer or np.can_cast(value.dtype, np.float64)
  return (int if integer else float)(value) if real else None


def videos(metrics: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The uint8 arrays (T, H, W, C) that hold a frame of 1, 3 or 4 channels."""
  return {name: v for name, v in metrics.items() if is_video(v)}


def is_video(value: Any) -> bool:
  return (
    isinstance(value, np.ndarray)
    and value.dtype == np.uint8
    and value.ndim == 4
    and value.size > 0
    and value.shape[-1] in (1, 3, 4)
  )
