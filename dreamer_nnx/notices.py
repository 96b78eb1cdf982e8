"""Warnings of this process, each said once."""

import logging

_logger = logging.getLogger(__name__)
# What this process has warned about.
WARNED: set[str] = set()


def warn_once(text: str, about: str = '') -> None:
  """Logs a warning, the first time in this process.

  Args:
    about: Decides whether it is the same warning, if texts of it differ.
  """
  about = about or text
  if about not in WARNED:
    WARNED.add(about)
    _logger.warning('%s', text)
