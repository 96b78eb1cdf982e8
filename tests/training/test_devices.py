"""Words about devices, drivers and memory."""

import types

import jax
import jax.numpy as jnp
import pytest

from dreamer_nnx.training import devices


def test_devices_are_counted_and_named_with_their_format():
  cpu = jax.devices()[0]
  text = devices.described([cpu, cpu], jnp.bfloat16)
  assert text == f'2 {cpu.device_kind} in bfloat16'


@pytest.mark.parametrize(
  ('file', 'extra'), [('nvidia0', 'cuda13'), ('accel0', 'tpu')]
)
def test_a_driver_without_its_jax_is_warned_of(
  tmp_path, monkeypatch, file, extra
):
  monkeypatch.delenv('JAX_PLATFORMS')
  assert devices.unused('cpu', tmp_path) is None
  (tmp_path / file).touch()
  warning = devices.unused('cpu', tmp_path)
  assert f"pip install 'dreamer-nnx[{extra}]'" in warning
  assert devices.unused('gpu', tmp_path) is None
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  assert devices.unused('cpu', tmp_path) is None


def test_memory_that_ran_out_is_told_with_what_takes_less():
  with (
    pytest.raises(devices.OutOfMemoryError) as caught,
    devices.explaining_memory(16, 64),
  ):
    jnp.zeros((10**6, 10**7)).block_until_ready()
  assert isinstance(caught.value.__cause__, jax.errors.JaxRuntimeError)
  message = str(caught.value)
  for word in ('config.train.batch_size = 16', 'remat', '--mode=show'):
    assert word in message
  assert len(message.splitlines()) == 2


def test_what_came_of_it_counts_and_other_errors_pass():
  def fail(cause):
    error = ValueError('a batch could not be made')
    with devices.explaining_memory(1, 1):
      raise error from cause

  with pytest.raises(ValueError, match='could not be made'):
    fail(None)
  with pytest.raises(devices.OutOfMemoryError, match='Out of memory: a batch'):
    fail(MemoryError())


@pytest.mark.parametrize(
  ('platform', 'capability', 'dtype', 'emulated'),
  [
    ('cpu', '', jnp.float32, False),
    ('cpu', '', jnp.bfloat16, True),
    ('tpu', '', jnp.bfloat16, False),
    ('tpu', '', jnp.float16, True),
    ('gpu', '7.5', jnp.bfloat16, True),
    ('gpu', '7.5', jnp.float16, False),
    ('gpu', '9.0', jnp.bfloat16, False),
  ],
)
def test_formats_that_a_device_does_not_have_are_known(
  platform, capability, dtype, emulated
):
  device = types.SimpleNamespace(
    platform=platform, compute_capability=capability
  )
  assert devices.emulated(device, dtype) is emulated


def test_a_device_says_its_limit_and_a_cpu_has_what_is_free(monkeypatch):
  monkeypatch.setattr(devices, 'available_bytes', lambda: 7)
  for stats, limit in (({'bytes_limit': 5}, 5), (None, 7), ({}, 7)):
    device = types.SimpleNamespace(memory_stats=lambda stats=stats: stats)
    assert devices.memory_limit(device) == limit
