"""Batches split over devices give what one device gives."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh

from dreamer_nnx.training.sharding import Sharding, data_parallel

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def gaps():
  """Largest differences between one and eight devices, by name."""
  flags = '--xla_force_host_platform_device_count=8'
  done = subprocess.run(
    [sys.executable, '-m', 'tests.training.eight_devices'],
    cwd=ROOT,
    env=os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


def test_eight_devices_learn_what_one_does(gaps):
  # Means over the batch are added up in another order; two updates of 0.01
  # divide the gradients by their own size.
  for name, gap in gaps['state'].items():
    assert gap < 1e-4, name
  for name, gap in gaps['metrics'].items():
    assert gap < 1e-3, name
  for name, gap in gaps['back'].items():
    assert gap < 1e-3, name


def test_batches_are_split_and_parameters_are_not(gaps):
  assert gaps['priority'] == gaps['carry']['rows'] == [2] * 8
  assert gaps['replicated']


def test_the_mesh_has_one_axis_of_all_devices():
  sharding = data_parallel()
  assert dict(sharding.mesh.shape) == {'data': len(jax.devices())}
  assert data_parallel(jax.devices()[:1]).mesh.shape['data'] == 1


def test_arrays_are_placed_on_the_mesh():
  sharding = data_parallel(jax.devices()[:1])
  x = np.arange(6.0).reshape(3, 2)
  for where in (sharding.replicated, sharding.batch):
    placed = jax.device_put(x, where)
    assert placed.sharding == where
    np.testing.assert_array_equal(placed, x)


def test_a_batch_that_does_not_split_is_refused():
  sharding = Sharding(AbstractMesh((8,), ('data',)))
  sharding.check_batch(16)
  message = (
    'config.train.batch_size = 12: must be a multiple of the 8 devices on '
    "axis 'data'."
  )
  with pytest.raises(ValueError, match=re.escape(message)):
    sharding.check_batch(12)
