"""Tests see one kind of device, wherever they run, and compile quickly."""

import os

# Read when JAX is first imported. Exact comparisons hold per kind of device.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Tiny programs take far longer to optimise than to run.
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
