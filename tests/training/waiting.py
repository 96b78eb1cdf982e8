"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable

# Seconds after which it is taken for something that never comes.
LONG = 120.0


def wait_for(ready: Callable[[], bool]) -> None:
  """Waits until something is so."""
  end = time.monotonic() + LONG
  while not ready():
    assert time.monotonic() < end, 'it did not happen'
    time.sleep(1e-3)
