"""Number formats by name."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.nn.precision import Precision


@pytest.mark.parametrize('name', ['float32', 'bfloat16', 'float16'])
def test_names_are_those_of_the_formats(name):
  precision = Precision(compute=name, param=name)
  assert precision.compute_dtype == precision.param_dtype == jnp.dtype(name)


def test_defaults_on_the_cpu_are_float32():
  assert Precision().compute_dtype == Precision().param_dtype == jnp.float32


def test_cast_is_to_the_compute_format():
  cast = Precision('bfloat16').cast(np.float32([1.5, -2]))
  assert cast.dtype == jnp.bfloat16
  np.testing.assert_array_equal(cast, [1.5, -2])


@pytest.mark.parametrize('field', ['compute', 'param'])
def test_unknown_format_is_refused_with_a_suggestion(field):
  precision = Precision(**{field: 'float23'})
  message = f"config.precision.{field} = 'float23': no such name. Did you mean"
  with pytest.raises(ValueError, match=re.escape(message)):
    getattr(precision, f'{field}_dtype')


@pytest.mark.parametrize(
  ('device', 'on_cpu', 'dtype'),
  [('cpu', True, 'float32'), ('accelerator', False, 'bfloat16')],
)
def test_the_device_can_be_named(device, on_cpu, dtype):
  precision = Precision(device=device)
  assert precision.on_cpu == on_cpu
  assert precision.compute_dtype == jnp.dtype(dtype)


def test_the_tests_run_on_a_cpu():
  assert Precision().on_cpu


def test_unknown_device_is_refused():
  message = "config.precision.device = 'cpus': no such name. Did you mean 'cpu'"
  with pytest.raises(ValueError, match=re.escape(message)):
    assert Precision(device='cpus').on_cpu
