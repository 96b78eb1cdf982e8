"""Writes scalars to a table of comma-separated values."""

import csv
from pathlib import Path

from dreamer_nnx.loggers.values import scalars
from dreamer_nnx.slots import LOGGER

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@LOGGER.register('mine')
class Mine:
  """Appends lines `env_steps,name,value` to a file.

  Args:
    file: Name of the file in the workdir.
  """

  def __init__(self, workdir, *, file: str = 'mine.csv'):
    path = Path(workdir) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    self._file = path.open('a', encoding='utf-8', newline='')
    self._rows = csv.writer(self._file)

  def write(self, env_steps, metrics):
    # Videos are left out.
    for name, value in scalars(metrics).items():
      self._rows.writerow([env_steps, name, value])
    self._file.flush()

  def close(self):
    self._file.close()
