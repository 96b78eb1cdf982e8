"""The failure of a check: which promise a component breaks."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.errors import UserError

TOLERANCE = 1e-5


class Broken(AssertionError):
  """A promise of the contract that a component does not keep.

  Args:
    component: Names it: `encoder mine`.
    promise: Of the contract.
    came: Happened instead.
  """

  def __init__(self, component: str, promise: str, came: str = ''):
    self.component, self.promise, self.came = component, promise, came
    super().__init__(f'{component}: {promise}{came and ": " + came}')


@contextlib.contextmanager
def promising(component: str) -> Iterator[None]:
  """Turns the messages of checks into failures of a component."""
  try:
    yield
  except (UserError, EnvError) as error:
    raise Broken(component, str(error)) from error


def expect(component: str, holds: Any, promise: str, came: str = '') -> None:
  if not bool(holds):
    raise Broken(component, promise, came)


def expect_close(
  component: str,
  got: dict[str, Any],
  want: dict[str, Any],
  promise: str,
  tolerance: float = TOLERANCE,
) -> None:
  """Compares arrays by name.

  Raises:
    Broken: Some differ by more than the tolerance, relative to 1 or to the
      largest number.
  """
  for name in want:
    a, b = (np.asarray(x[name], np.float64) for x in (got, want))
    expect(component, a.shape == b.shape, promise, f'{name} has {a.shape}')
    if not a.size:
      continue
    error = np.abs(a - b).max() / max(1.0, np.abs(b).max())
    text = f'{name} differs by {error:.2g}'
    expect(component, error <= tolerance, promise, text)


def expect_equal(
  component: str, got: dict[str, Any], want: dict[str, Any], promise: str
) -> None:
  """Compares arrays by name, bit for bit.

  Raises:
    Broken: Some differ.
  """
  expect(component, got.keys() == want.keys(), promise, f'{sorted(got)}')
  for name in want:
    same = np.array_equal(np.asarray(got[name]), np.asarray(want[name]))
    expect(component, same, promise, f'{name} differs')


def expect_finite(component: str, arrays: dict[str, Any], what: str) -> None:
  for name, x in arrays.items():
    x = np.asarray(x, np.float64)
    promise = f'{what} are finite'
    expect(component, np.isfinite(x).all(), promise, f'{name} is not')


def matches(patterns: tuple[str, ...], name: str) -> bool:
  return any(re.search(pattern, name) for pattern in patterns)
