"""Versions of the package and of the formats that it stores.

A number is raised when an older version would misread what is stored. Older
numbers stay readable; what is newer is refused.
"""

import re
from typing import Any

PACKAGE = '0.2.0'
# Of a checkpoint, as its `meta` says; without an entry there it is 1.
CHECKPOINT = 2
# Of a replay's index, and of the files that it names.
REPLAY = 2
CHUNK_FILE = 2

_VERSION = re.compile(r'[0-9]{1,6}(\.[0-9a-z+]{1,12}){0,4}')


def complaint(found: Any, known: int, written_by: Any = None) -> str:
  """Says why something stored cannot be read; empty if it can be.

  Args:
    found: Number of its format, from a file that may be a stranger's.
    known: The newest that is read.
    written_by: Version of the package that wrote it, if the file says that.
  """
  if type(found) is not int or not 1 <= found < 2**31:
    return f'its format is {str(found)[:40]!r}, which is no number of one'
  if found <= known:
    return ''
  said = isinstance(written_by, str) and _VERSION.fullmatch(written_by)
  by = f', written by version {written_by} of dreamer-nnx' if said else ''
  return (
    f'it is of format {found}{by}. Version {PACKAGE}, which is running, reads '
    f'formats up to {known}: install a newer one'
  )
