"""The start of a run in a workdir: new, from its latest step, or an older one.

The same command has to mean the same however often it is given, for clusters
give it again after each stop. So what it asks for is recorded, done once, and
from then on a reason to go on from the latest step.
"""

import dataclasses
import os
from typing import Any, NamedTuple

from dreamer_nnx import paths
from dreamer_nnx.errors import UserError
from dreamer_nnx.training import checkpoint_files as files
from dreamer_nnx.training import processes
from dreamer_nnx.training.record import CheckpointError, Record

Flags = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Source:
  """The source of a new run's parameters, if they are not fresh.

  Args:
    restore: Workdir or checkpoint folder, or None.
    step: Its step; None for the latest.
    include, exclude: Regular expressions of the arrays to take.
    reference: Folder of a danijar/dreamerv3 run, or None.

  Raises:
    UserError: Both folders are named.
  """

  restore: str | os.PathLike | None = None
  step: int | None = None
  include: str = '.*'
  exclude: str = ''
  reference: str | os.PathLike | None = None

  def __post_init__(self):
    if self.restore and self.reference:
      text = 'goes without --import_reference. Name one of the two.'
      raise UserError(text, '--restore')

  def flags(self) -> Flags:
    """Returns values by the names of the flags; empty for fresh parameters."""
    if self.reference:
      path = paths.parse(self.reference, '--import_reference')
      return {'import_reference': str(path)}
    if not self.restore:
      return {}
    return {
      'restore': str(paths.parse(self.restore, '--restore')),
      'restore_step': self.step,
      'restore_include': self.include,
      'restore_exclude': self.exclude,
    }


class Plan(NamedTuple):
  """The start of a run, decided but not yet recorded.

  Args:
    record: The workdir's record from then on.
    step: The checkpoint to go on from; None to start anew.
    notice: Text to print, or empty.
  """

  record: Record
  step: int | None
  notice: str = ''


class Start:
  """The start of a run in a workdir, which all processes decide together.

  Args:
    source: The source of the run's arrays, when it is new.
    back: Step of the workdir to go back to; those after it are superseded.
    again: Does so although the workdir records that it was done.

  Attributes:
    step: The checkpoint to go on from; None to start anew.

  Raises:
    CheckpointError: The workdir records another start, or as in `find`.
    PathError: As in `paths.parse`.
  """

  def __init__(
    self, workdir: paths.Path, source: Source, back: int | None, again: bool
  ):
    self._directory = workdir / files.FOLDER
    asked = source.flags()

    def decide() -> list:
      found = plan(workdir, asked, back, again)
      self._record = found.record
      return [found.step, found.notice]

    self.step, notice = processes.in_first(decide, CheckpointError)
    if notice and processes.first():
      print(notice, flush=True)

  def record(self) -> None:
    """Records the start; call it after what the run starts from was read."""
    if processes.first() and self._record != Record.read(self._directory):
      self._record.write(self._directory)
    processes.gather(None)


def plan(
  workdir: paths.Path, asked: Flags, back: int | None, again: bool
) -> Plan:
  """Decides about a start; changes nothing."""
  if again and not asked and back is None:
    raise CheckpointError(
      'goes with --restore, --restore_step or --import_reference.',
      '--restore_again',
    )
  record, steps = Record.read(workdir / files.FOLDER), files.kept(workdir)
  if back is None and (again or not steps):
    _check_elsewhere(workdir, asked)
    return Plan(Record(asked, None, record.superseded.union(steps)), None)
  if asked and record.source not in (None, asked):
    raise _started_otherwise(workdir, record.source, asked)
  record = dataclasses.replace(record, source=asked or record.source)
  if back is not None and (again or record.back is None):
    files.find(workdir, back)
    later = (step for step in steps if step > back)
    return Plan(
      Record(record.source, back, record.superseded.union(later)), back
    )
  if back not in (None, record.back):
    raise CheckpointError(
      f'{workdir} went back to step {record.back} before. Leave the flag out '
      'to go on from the latest step, or add --restore_again to go back anew.',
      f'--restore_step={back}',
    )
  latest = files.latest(workdir)
  done = [f'was started by {_text(asked)}'] if asked else []
  done += [f'went back to step {back}'] if back is not None else []
  return Plan(record, latest, _notice(workdir, done, latest) if done else '')


def _check_elsewhere(workdir: paths.Path, asked: Flags) -> None:
  if asked.get('restore') in (str(workdir), str(workdir / files.FOLDER)):
    raise CheckpointError(
      'is the workdir itself. Name another, or go back in this one by '
      '--restore_step.',
      f'--restore={workdir}',
    )


def _notice(workdir: paths.Path, done: list[str], latest: int) -> str:
  return (
    f'{workdir} {" and ".join(done)} before; it goes on from step {latest}, '
    'its latest. --restore_again does it anew.'
  )


def _started_otherwise(
  workdir: paths.Path, source: Flags, asked: Flags
) -> CheckpointError:
  return CheckpointError(
    f'{workdir} was started '
    f'{f"by {_text(source)}" if source else "from fresh parameters"}. Leave '
    'the flags out to go on with it, choose another workdir, or add '
    '--restore_again to start anew in this one.',
    _text(asked),
  )


def _text(flags: Flags) -> str:
  return ' '.join(
    f'--{name}={value}'
    for name, value in flags.items()
    if value not in (None, '')
  )
