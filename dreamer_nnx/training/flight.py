"""The save in flight, in a thread beside training."""

import time
from collections.abc import Callable
from concurrent import futures


class Flight:
  """A thread that saves, one save at a time.

  A save begins by a call that may take a while, and is over when another one
  has returned.
  """

  def __init__(self):
    self._thread = futures.ThreadPoolExecutor(1, 'checkpoint')
    self._begun: futures.Future | None = None
    self._over: futures.Future | None = None
    self._since = 0.0

  @property
  def seconds(self) -> float:
    """Seconds since the last save began."""
    return time.monotonic() - self._since

  def start(self, begin: Callable[[], bool], end: Callable[[], None]) -> None:
    """Starts a save, when the last one was joined."""
    self._since = time.monotonic()
    self._begun = self._thread.submit(begin)
    self._over = self._thread.submit(end)

  def call(self, function: Callable[[], None]) -> None:
    """Calls something in the thread, after the save."""
    self._thread.submit(function).result()

  def over(self, patience: float) -> bool:
    """Waits up to `patience` seconds; True if no save is in flight then."""
    if self._over:
      futures.wait([self._over], patience)
    return not self._over or self._over.done()

  def wait_begun(self) -> None:
    """Waits until a save in flight has begun, or failed to."""
    futures.wait([self._begun] if self._begun else [])

  def join_begun(self) -> bool:
    """Waits likewise; returns or raises the beginning's result, once."""
    begun, self._begun = self._begun, None
    try:
      return not begun or begun.result()
    except BaseException:
      self._over = None
      raise

  def join(self) -> bool:
    """Waits until a save in flight is over; True if there was one."""
    over, self._over = self._over, None
    if over:
      over.result()
    return bool(over)
