"""A watchdog: ends this process when a call hangs, and shows the place."""

import faulthandler
import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

# Seconds that faulthandler waits longer than the thread, which says more.
BACKSTOP = 5.0
# Arming faulthandler starts a thread of its own (0.1 ms). So it stays armed
# over calls in quick succession, and is armed anew this often (seconds).
REARM = 1.0
QUICK = 0.01
STDERR = 2


class Watchdog:
  """Limits the time that calls take in this process.

  A call that takes longer is shown, with its stack, and the process exits with
  1. A thread watches; where it cannot run, because C code keeps Python's lock,
  faulthandler does the same a little later. Time between calls does not count,
  nor time in which the process was suspended.

  Args:
    limit: Seconds; 0 for none.
    describe: The message about a call, from what it is told the call is.
  """

  def __init__(self, limit: float, describe: Callable[[Any], str]) -> None:
    self._limit, self._describe = limit, describe
    # A new tuple for each call, so that no two calls are taken for one.
    self._current: tuple[Any] | None = None
    self._lock = threading.Lock()
    self._armed = self._left = -math.inf
    self._closed = threading.Event()
    if limit:
      watch = threading.Thread(target=self._watch, name='watchdog', daemon=True)
      watch.start()

  def run(self, what: Any, call: Callable, *arguments: Any) -> Any:
    """Calls a function; `what` describes it in messages."""
    (result,) = self.each([(what, lambda given: call(*given))], [arguments])
    return result

  def each(
    self, calls: Iterable[tuple[Any, Callable]], arguments: Iterable[Any]
  ) -> list[Any]:
    """Calls functions in turn, each with one argument and a limit of its own.

    Args:
      calls: What describes each in messages, and the function.
    """
    pairs = zip(calls, arguments, strict=True)
    if not self._limit:
      return [call(argument) for (_, call), argument in pairs]
    quick = time.monotonic() - self._left < QUICK
    # A call may make another one, and go on after it.
    outer, results = self._current, []
    try:
      for (what, call), argument in pairs:
        self._begin((what,))
        results.append(call(argument))
    finally:
      self._left = time.monotonic()
      self._begin(outer)
      if not quick:
        self._disarm()
    return results

  def close(self) -> None:
    """Watches no more."""
    self._closed.set()
    self._disarm()

  def _begin(self, current):
    # Before it is looked whether it is armed: see `_disarm`.
    self._current = current
    if current and time.monotonic() - self._armed > REARM:
      self._arm()

  def _watch(self):
    tick, seen, waited = min(self._limit, 1.0) / 4, None, 0.0
    while not self._closed.wait(tick):
      # While the process is suspended, one tick counts, however long it is.
      current = self._current
      waited = waited + tick if current is seen else 0.0
      seen = current
      if current is None:
        self._disarm()
      elif waited >= self._limit:
        self._end(*current)

  def _arm(self):
    with self._lock:
      faulthandler.dump_traceback_later(
        self._limit + BACKSTOP, exit=True, file=STDERR
      )
      self._armed = time.monotonic()

  def _disarm(self):
    if self._current is None and self._armed > -math.inf:
      with self._lock:
        self._armed = -math.inf
        faulthandler.cancel_dump_traceback_later()
      # A call that began meanwhile may have found it armed.
      if self._current is not None:
        self._arm()

  def _end(self, what) -> NoReturn:
    # Not by way of `sys.stderr`, whose lock the call may hold.
    faulthandler.dump_traceback(STDERR)
    os.write(STDERR, f'\n{self._describe(what)}\n'.encode(errors='replace'))
    os._exit(1)
