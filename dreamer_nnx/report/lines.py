"""Files with an object of JSON on each line, of any size."""

import json
from collections.abc import Iterator
from typing import Any

from dreamer_nnx import paths

BLOCK = 1 << 20
# Bytes; a longer line is none of ours.
LONGEST = 1 << 20


class Lines:
  """Iterates over the objects of a file; other lines are left out.

  Never more than a few blocks of the file are held.

  Attributes:
    damaged: Lines so far that held no object, or were too long.
  """

  def __init__(self, path: paths.Path):
    self._path, self.damaged = path, 0

  def __iter__(self) -> Iterator[dict[str, Any]]:
    for line in self._lines():
      try:
        value = json.loads(line)
      except (ValueError, RecursionError):
        value = None
      if isinstance(value, dict):
        yield value
      elif value is not None or line.strip():
        self.damaged += 1

  def _lines(self) -> Iterator[bytes]:
    rest, skipping = b'', False
    with self._path.open('rb') as file:
      while block := file.read(BLOCK):
        *whole, rest = (rest + block).split(b'\n')
        if skipping and whole:
          whole, skipping = whole[1:], False
        for line in whole:
          if len(line) > LONGEST:
            self.damaged += 1
          else:
            yield line
        if len(rest) > LONGEST:
          self.damaged += not skipping
          skipping = True
        if skipping:
          rest = b''
    yield rest
