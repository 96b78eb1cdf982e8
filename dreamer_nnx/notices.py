"""Warnings of this process, each said once."""

import logging

_logger = logging.getLogger(__name__)
# What this process has warned about.
WARNED: set[str] = set()
Notice = tuple[str, str]


class Keeper(logging.Handler):
  """Keeps warnings for another process, which says them in place of this."""

  def __init__(self) -> None:
    super().__init__()
    self._kept: list[Notice] = []
    _logger.addHandler(self)
    _logger.propagate = False

  def emit(self, record: logging.LogRecord) -> None:
    self._kept.append((record.getMessage(), record.about))

  def taken(self) -> list[Notice]:
    """Returns the arguments of `warn_once` since the last call."""
    taken, self._kept = self._kept, []
    return taken


def warn_once(text: str, about: str = '') -> None:
  """Logs a warning, the first time in this process.

  Args:
    about: Decides whether it is the same warning, if texts of it differ.
  """
  about = about or text
  if about not in WARNED:
    WARNED.add(about)
    _logger.warning('%s', text, extra={'about': about})
