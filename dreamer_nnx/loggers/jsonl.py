"""Scalars as lines of JSON, easy to read back with any tool."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamer_nnx.loggers.values import scalars
from dreamer_nnx.slots import LOGGER


@LOGGER.register('jsonl')
class JsonlLogger:
  """Appends `{"env_steps": ..., name: number, ...}` to `metrics.jsonl`.

  A number that is not finite becomes null. A run that goes on appends, first
  `run/starts`: earlier lines of later steps than this one no longer hold.
  """

  def __init__(self, workdir: str | Path):
    path = Path(workdir) / 'metrics.jsonl'
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
      _drop_torn_line(path)
    self._file = path.open('a', encoding='utf-8')

  def write(self, env_steps: int, metrics: Mapping[str, Any]) -> None:
    values = {
      name: value if math.isfinite(value) else None
      for name, value in scalars(metrics).items()
    }
    if not values:
      return
    count = {'env_steps': int(env_steps)}
    line = json.dumps(count | values | count, allow_nan=False)
    self._file.write(line + '\n')
    self._file.flush()

  def close(self) -> None:
    self._file.close()


def _drop_torn_line(path: Path) -> None:
  """Cuts off a line that an interrupted process did not finish."""
  with path.open('rb+') as file:
    file.seek(0, os.SEEK_END)
    end = file.tell()
    position, tail = end, b''
    while position and b'\n' not in tail:
      position = max(0, position - 4096)
      file.seek(position)
      tail = file.read(end - position)
    file.truncate(position + tail.rfind(b'\n') + 1)
