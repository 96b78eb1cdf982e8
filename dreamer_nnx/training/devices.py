"""Devices of a run in words, and advice for lack of memory."""

import contextlib
import os
import pathlib
from collections.abc import Iterable, Iterator

import jax
import numpy as np

from dreamer_nnx.errors import UserError
from dreamer_nnx.replay.memory import available_bytes

# Files of drivers, and the extra whose JAX uses what they drive.
DRIVERS = {'nvidia[0-9]*': ('GPU', 'cuda13'), 'accel[0-9]*': ('TPU', 'tpu')}


def described(devices: Iterable[jax.Device], dtype: np.dtype) -> str:
  """`4 NVIDIA H100 in bfloat16`."""
  devices = list(devices)
  kinds = sorted({device.device_kind for device in devices})
  return f'{len(devices)} {", ".join(kinds)} in {np.dtype(dtype).name}'


def unused(
  backend: str, folder: pathlib.Path = pathlib.Path('/dev')
) -> str | None:
  """A warning where the machine has an accelerator that JAX does not see.

  Args:
    backend: JAX's backend.
    folder: Folder of the drivers' device files.
  """
  if backend != 'cpu' or os.environ.get('JAX_PLATFORMS'):
    return None
  for pattern, (kind, extra) in DRIVERS.items():
    if any(folder.glob(pattern)):
      return (
        f"No {kind} is used, though this machine's driver has one: JAX is "
        f"installed for the CPU. pip install 'dreamer-nnx[{extra}]', or make "
        f'venv EXTRA={extra}; JAX_PLATFORMS=cpu says that the CPU is meant.'
      )
  return None


def emulated(device: jax.Device, dtype: np.dtype) -> bool:
  """Tells whether a device computes a format by way of another one."""
  name = np.dtype(dtype).name
  if device.platform == 'cpu':
    return name in ('bfloat16', 'float16')
  if device.platform == 'tpu':
    return name == 'float16'
  # Of GPUs of NVIDIA those before Ampere.
  capability = str(getattr(device, 'compute_capability', ''))
  old = capability.partition('.')[0] in ('5', '6', '7')
  return name == 'bfloat16' and old


def memory_limit(device: jax.Device) -> int:
  """Bytes that this process can have on a device; on a CPU, those free now."""
  stats = device.memory_stats() or {}
  return stats.get('bytes_limit') or available_bytes()


class OutOfMemoryError(UserError):
  """Memory ran out; the message says what takes less."""


@contextlib.contextmanager
def explaining_memory(batch_size: int, batch_length: int) -> Iterator[None]:
  """Turns errors of memory into one that says what takes less of it.

  Raises:
    OutOfMemoryError: Memory ran out; replaces the library's error.
  """
  try:
    yield
  except Exception as error:
    if not is_out_of_memory(error):
      raise
    first = (str(error) or 'no more is free').splitlines()[0][:200]
    raise OutOfMemoryError(
      f'Out of memory: {first}\n{less_memory(batch_size, batch_length)}'
    ) from error


def less_memory(batch_size: int, batch_length: int) -> str:
  """Advice about what takes less memory of a device."""
  return (
    f'config.train.batch_size = {batch_size}, batch_length = {batch_length}: '
    'take smaller ones, or --config.dynamics.rssm.remat, which computes '
    'observed steps twice instead of keeping them, or split over more '
    'devices by config.mesh. The same command with --mode=show prints what '
    'memory is for.'
  )


def is_out_of_memory(error: BaseException | None) -> bool:
  """Tells whether an error, or one behind it, says that memory ran out."""
  while error is not None:
    if isinstance(error, MemoryError):
      return True
    if isinstance(error, jax.errors.JaxRuntimeError):
      return 'RESOURCE_EXHAUSTED' in str(error)
    error = error.__cause__
  return False
