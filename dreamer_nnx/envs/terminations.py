"""Leaves a SIGTERM to the main process, which saves and ends its workers.

Schedulers and systemd may send it to all processes of a job at once.
"""

import os
import signal
from types import FrameType

NUMBERS = {signal.SIGTERM}


def leave_to_main() -> None:
  """Makes this process deaf to SIGTERM, and nothing that it starts."""
  # What a process ignores, the programs that it starts ignore, too.
  signal.signal(signal.SIGTERM, _do_nothing)
  # A child that is terminated at once has to end by it, not to be as deaf.
  os.register_at_fork(
    before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS),
    after_in_parent=_unblock,
    after_in_child=_reset,
  )


def _do_nothing(number: int, frame: FrameType | None) -> None:
  del number, frame


def _unblock() -> None:
  signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


def _reset() -> None:
  signal.signal(signal.SIGTERM, signal.SIG_DFL)
  _unblock()
