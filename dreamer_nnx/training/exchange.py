"""Steps on their way between two threads, of which one can hold the other."""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

# Bytes of steps that may be on their way; then acting waits.
LIMIT = 2**28


class Exchange:
  """Hands steps from the thread that acts to the one that takes them in.

  A step is `(arrays by name, any array)`. The thread that acts calls `goes_on`
  before each step, and waits there while it is held.

  Args:
    limit: Bytes of steps on their way beyond which it waits there, too.
  """

  def __init__(self, limit: int = LIMIT):
    self._limit, self._bytes = limit, 0
    self._steps: deque[Any] = deque()
    self._changed = threading.Condition()
    self._held = self._still = self._finished = self._ended = False

  def goes_on(self) -> bool:
    """Waits while it has to; tells whether to act once more."""
    with self._changed:
      self._still = True
      self._changed.notify_all()
      self._changed.wait_for(self._free)
      self._still = False
      return not self._ended

  def put(self, step: Any) -> None:
    """Hands over a step."""
    with self._changed:
      self._steps.append(step)
      self._bytes += size(step)
      self._changed.notify_all()

  def finish(self) -> None:
    """Says that no more steps will come."""
    with self._changed:
      self._finished = True
      self._changed.notify_all()

  @property
  def finished(self) -> bool:
    """Tells whether all steps there will be were taken."""
    with self._changed:
      return self._finished and not self._steps

  def take(self, patience: float) -> list[Any]:
    """Returns the steps that there are; waits so many seconds for one."""
    with self._changed:
      self._changed.wait_for(lambda: self._steps or self._finished, patience)
      steps = list(self._steps)
      self._steps.clear()
      self._bytes = 0
      self._changed.notify_all()
      return steps

  @contextlib.contextmanager
  def held(self) -> Iterator[None]:
    """Holds the other thread between two steps, as soon as it is there."""
    with self._changed:
      self._held = True
      self._changed.wait_for(lambda: self._still or self._finished)
    try:
      yield
    finally:
      with self._changed:
        self._held = False
        self._changed.notify_all()

  def end(self) -> None:
    """Asks for no more steps."""
    with self._changed:
      self._ended = True
      self._changed.notify_all()

  def _free(self) -> bool:
    return self._ended or not (self._held or self._bytes > self._limit)


def size(step: Any) -> int:
  """Bytes of a step."""
  arrays, _ = step
  return sum(x.nbytes for x in arrays.values())
