"""Memory that this process can still get, and the refusal to overrun it."""

import os
import pathlib

from dreamer_nnx.errors import UserError

_MEMINFO = pathlib.Path('/proc/meminfo')
_CGROUP = pathlib.Path('/sys/fs/cgroup')
_OWN = pathlib.Path('/proc/self/cgroup')
_UNLIMITED = 2**62


def available_bytes() -> int:
  """Bytes that can be allocated now, within the control group's limit."""
  return min(_free_on_machine(), _free_in_group())


def require(need: int, step_bytes: int, unit: int, steps: int) -> None:
  """Refuses an allocation that does not fit.

  Args:
    need: Bytes about to be allocated.
    step_bytes: Bytes of one step.
    unit: Steps by multiples of which the capacity grows.
    steps: Number to be allocated, for the message.

  Raises:
    UserError: Names what is needed, what is free and what would fit.
  """
  free = available_bytes()
  if need <= free:
    return
  fits = free // (step_bytes * unit) * unit
  raise UserError(
    f'{steps} steps need {gib(need)} of memory, {gib(free)} are free. The '
    f'largest that fits is {fits}; storage=disk keeps steps in files.',
    'capacity',
  )


def gib(count: int) -> str:
  """Formats a number of bytes in GiB."""
  return f'{count / 2**30:.1f} GiB'


def _free_on_machine() -> int:
  if _MEMINFO.exists():
    for line in _MEMINFO.read_text().splitlines():
      if line.startswith('MemAvailable:'):
        return int(line.split()[1]) * 1024
  name = 'SC_AVPHYS_PAGES'
  if name not in os.sysconf_names:
    name = 'SC_PHYS_PAGES'
  return os.sysconf(name) * os.sysconf('SC_PAGE_SIZE')


def _free_in_group() -> int:
  """Bytes free in this process's control group and those around it."""
  return min(map(_free_in, _groups()), default=_UNLIMITED)


def _groups() -> list[pathlib.Path]:
  """The folders of the groups, of version 2; the outermost is the last."""
  name = ''
  if _OWN.exists():
    lines = _OWN.read_text().splitlines()
    name = next((x[3:] for x in lines if x.startswith('0::')), '')
  own = _CGROUP / name.strip('/')
  return [x for x in (own, *own.parents) if x.is_relative_to(_CGROUP)]


def _free_in(group: pathlib.Path) -> int:
  limit, used = group / 'memory.max', group / 'memory.current'
  if not (limit.exists() and used.exists()):
    return _UNLIMITED
  text = limit.read_text().strip()
  if text == 'max':
    return _UNLIMITED
  # Inactive page cache counts as used but is given back under pressure.
  free = int(text) - int(used.read_text())
  for line in (group / 'memory.stat').read_text().splitlines():
    if line.startswith('inactive_file '):
      free += int(line.split()[1])
  return max(0, free)
