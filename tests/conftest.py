"""Tests see one kind of device, wherever they run."""

import os

# Read when JAX is first imported. Exact comparisons hold per kind of device.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
