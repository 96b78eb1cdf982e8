"""The record of a run's start: its source, and superseded checkpoints.

All of it is one file beside the checkpoints, written whole, so that going back
to an older step is done or not done, whenever the process is killed.
"""

import dataclasses
import json
from typing import Any

from dreamer_nnx import paths
from dreamer_nnx.errors import UserError
from dreamer_nnx.training import limits

FILE = 'start.json'


class CheckpointError(UserError):
  """A checkpoint cannot be written, found, read or fitted to this config."""


@dataclasses.dataclass(frozen=True)
class Record:
  """The start of the run of a workdir.

  Args:
    source: Its source of arrays, by the names of the flags; empty for
      fresh parameters, None where nothing is recorded.
    back: The step that it went back to last.
    superseded: Steps that are no longer of the run, though their folders stay
      until a step of the same number is saved.
  """

  source: dict[str, Any] | None = None
  back: int | None = None
  superseded: frozenset[int] = frozenset()

  @classmethod
  def read(cls, directory: paths.Path) -> 'Record':
    """Reads the record of a folder of checkpoints; empty if there is no file.

    Raises:
      CheckpointError: The file is no record.
    """
    try:
      limits.check_text(directory / FILE, paths.size(directory / FILE))
      text = paths.read(directory / FILE)
    except (FileNotFoundError, NotADirectoryError):
      return cls()
    except ValueError as error:
      raise CheckpointError(f'{directory}: {error}.') from error
    try:
      found = json.loads(text)
      source, back = found['source'], found['back']
      superseded = frozenset(int(step) for step in found['superseded'])
      if not (isinstance(source, dict | None) and isinstance(back, int | None)):
        raise TypeError('fields of other types')
      if not ''.join(map(str, (source or {}).values())).isprintable():
        raise ValueError('text that cannot be printed')
    except (ValueError, TypeError, KeyError, OverflowError) as error:
      raise CheckpointError(
        f'{directory / FILE} cannot be read ({error}). Put it back; without it '
        'the run goes on from the latest step of any that is there.'
      ) from error
    return cls(source, back, superseded)

  def write(self, directory: paths.Path) -> None:
    """Replaces the record of a folder of checkpoints."""
    fields = dataclasses.asdict(self)
    fields['superseded'] = sorted(self.superseded)
    directory.mkdir(parents=True, exist_ok=True)
    paths.write(directory / FILE, json.dumps(fields).encode())
