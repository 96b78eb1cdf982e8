"""Tests compile quickly, on one kind of device, as those of `tests/` do.

The example package is left out: it has to be installed, and tests itself.
"""

import os

from tests.plain import CACHED, PLAIN

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
for name, value in (PLAIN | CACHED).items():
  os.environ.setdefault(name, value)

collect_ignore = ['example_plugin']
