"""Processes that environments start in this one, and may leave behind."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

# Seconds that a process has to end by itself.
GRACE = 2.0
TASKS = Path('/proc/self/task')


def alive() -> set[int]:
  """Process ids of the children of this process, as far as it can be known.

  Without Linux's list of them, only those of `multiprocessing` are.
  """
  found = {child.pid for child in multiprocessing.active_children()}
  for task in TASKS.glob('*/children'):
    # A thread may end meanwhile.
    with contextlib.suppress(OSError):
      found |= set(map(int, task.read_text().split()))
  return found


def end(pids: Iterable[int]) -> list[str]:
  """Ends processes that still run; says so, a line each."""
  said = []
  left = {pid for pid in pids if _runs(pid)}
  for pid in sorted(left):
    said.append(f'the environment left process {pid} behind; it was ended')
    _signal(pid, signal.SIGTERM)
  deadline = time.monotonic() + GRACE
  while left and time.monotonic() < deadline:
    time.sleep(0.01)
    left = {pid for pid in left if _runs(pid)}
  for pid in left:
    _signal(pid, signal.SIGKILL)
    _runs(pid)
  return said


def _runs(pid: int) -> bool:
  """Tells whether a child still runs; reaps one that has ended."""
  for child in multiprocessing.active_children():
    if child.pid == pid:
      return True
  try:
    return os.waitpid(pid, os.WNOHANG) == (0, 0)
  except ChildProcessError:
    return False


def _signal(pid: int, number: int) -> None:
  with contextlib.suppress(ProcessLookupError):
    os.kill(pid, number)
