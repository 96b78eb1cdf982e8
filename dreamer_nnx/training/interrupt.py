"""Ends a run in an orderly way on SIGINT and SIGTERM."""

import os
import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Shows the cursor, which a live line hides, and begins a line.
RESTORE_TERMINAL = b'\033[?25h\n'


class Interrupt:
  """Asks for a stop at the first signal, exits at once at the second.

  A context manager; the handlers before it are put back at its end. Calling it
  tells whether a stop was asked for. Signals reach the main thread alone: in
  another one nothing asks.
  """

  def __init__(self):
    self._asked = False
    self._before: dict[int, object] = {}

  def __call__(self) -> bool:
    return self._asked

  def __enter__(self) -> 'Interrupt':
    alone = threading.current_thread() is threading.main_thread()
    for number in SIGNALS if alone else ():
      self._before[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *exc_info: object) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _handle(self, number: int, frame: FrameType | None) -> None:
    del frame
    if self._asked:
      if os.isatty(1):
        os.write(1, RESTORE_TERMINAL)
      os._exit(128 + number)
    self._asked = True
