"""Kills the workers that outlive the process that they work for.

A worker that waits for its next step notices that its pipe is closed, one that
hangs in a step notices nothing. So this file is also a small program, which
is told the workers' process ids on its standard input and acts at its end. It
imports nothing else of the package, to start at once.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

# Seconds that workers have to close their environments by themselves.
GRACE = 2.0


class Reaper:
  """The program that kills workers; runs until `close` or this process ends."""

  def __init__(self) -> None:
    self._workers: set[int] = set()
    self._process = subprocess.Popen(
      [sys.executable, '-I', '-S', __file__],
      stdin=subprocess.PIPE,
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
      start_new_session=True,
      text=True,
    )

  def add(self, pid: int) -> None:
    self._workers.add(pid)
    self._tell()

  def remove(self, pid: int) -> None:
    self._workers.discard(pid)
    self._tell()

  def close(self) -> None:
    """Ends the program; what is still watched is killed."""
    with contextlib.suppress(OSError):
      self._process.stdin.close()
    try:
      self._process.wait(2 * GRACE)
    except subprocess.TimeoutExpired:
      # Somebody else, forked from this process, holds its input open.
      self._process.kill()
      self._process.wait()

  def _tell(self):
    # Somebody may have killed it: that is no reason to stop.
    with contextlib.suppress(OSError):
      self._process.stdin.write(' '.join(map(str, self._workers)) + '\n')
      self._process.stdin.flush()


def kill(pid: int) -> None:
  """Kills a worker, with all that its environment has started."""
  if not kill_group(pid):
    # It has no group yet, or is gone.
    with contextlib.suppress(ProcessLookupError):
      os.kill(pid, signal.SIGKILL)


def kill_group(pid: int) -> bool:
  """Kills what is left of a worker's process group; True if there was any."""
  try:
    os.killpg(pid, signal.SIGKILL)
  except ProcessLookupError:
    return False
  return True


def main() -> None:
  """Reads lines of process ids; when they end, kills those of the last line."""
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
  workers = []
  for line in sys.stdin:
    workers = [int(word) for word in line.split()]
  if workers:
    time.sleep(GRACE)
  for pid in workers:
    with contextlib.suppress(PermissionError):
      kill(pid)


if __name__ == '__main__':
  main()
