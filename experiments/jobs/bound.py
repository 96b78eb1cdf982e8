"""Becomes another program that is told to end when the one that starts it does.

  python bound.py PID PROGRAM ARGUMENT ...

On Linux alone; elsewhere the program goes on. It imports nothing but the
standard library, to start at once.
"""

import contextlib
import ctypes
import os
import signal
import sys

SET_SIGNAL_AT_PARENTS_END = 1  # PR_SET_PDEATHSIG of linux/prctl.h.


def main(starter: int, command: list[str]) -> None:
  """Replaces this process by the program."""
  with contextlib.suppress(OSError, AttributeError):
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(SET_SIGNAL_AT_PARENTS_END, signal.SIGTERM, 0, 0, 0)
  # It may have ended before that.
  if os.getppid() == starter:
    os.execv(command[0], command)


if __name__ == '__main__':
  main(int(sys.argv[1]), sys.argv[2:])
