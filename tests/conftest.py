"""Tests see one kind of device, wherever they run, and compile quickly."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamer_nnx import displays
from tests import buckets
from tests.plain import CACHED, PLAIN

# Bytes that a process of tests grows by until it forgets compiled programs,
# and how many it had when it last did: not all are given back.
GROWTH, HAD = 3 << 30, [0]
STATUS = Path('/proc/self/statm')
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


def pytest_runtest_teardown(
  item: pytest.Item, nextitem: pytest.Item | None
) -> None:
  """Forgets programs between two files, or there were gigabytes of them."""
  if nextitem and nextitem.path != item.path and memory() > HAD[-1] + GROWTH:
    import jax

    jax.clear_caches()
    gc.collect()
    HAD.append(memory())


def memory() -> int:
  """Bytes of this process; 0 where the system does not say."""
  if not STATUS.exists():
    return 0
  return int(STATUS.read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


@pytest.fixture(scope='session')
def store() -> Iterator[int]:
  """A bucket for this process and those it starts; the port of its store."""
  with buckets.strict_emulator() as port:
    # For good: clients keep the address that they first found.
    os.environ.update(buckets.variables(port))
    yield port
