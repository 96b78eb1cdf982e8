"""Tests see one kind of device, wherever they run, and compile quickly."""

import gc
import os
from collections.abc import Iterator

import pytest

from dreamer_nnx import displays
from tests import buckets
from tests.plain import CACHED, PLAIN

# Read when JAX is first imported. Exact comparisons hold per kind of device.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
for name, value in (PLAIN | CACHED).items():
  os.environ.setdefault(name, value)
# Read when MuJoCo is first imported.
os.environ.update(displays.variables())


def pytest_collection_finish() -> None:
  """Looks for garbage less often: tracing makes much that is soon none."""
  gc.collect()
  gc.freeze()
  gc.set_threshold(100_000, 50, 100)


@pytest.fixture(scope='session')
def store() -> Iterator[int]:
  """A bucket for this process and those it starts; the port of its store."""
  with buckets.strict_emulator() as port:
    # For good: clients keep the address that they first found.
    os.environ.update(buckets.variables(port))
    yield port
