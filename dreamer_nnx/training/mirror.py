"""Logs of a workdir: written where they are, or by way of a local folder.

An object of a bucket cannot be appended to. So what loggers write is kept in a
folder of this machine, and what changed there is uploaded, file by file.
"""

import contextlib
import pathlib
import tempfile
import threading
import time
from types import TracebackType
from typing import Self

from absl import logging

from dreamer_nnx import paths

# Seconds between two uploads at least.
PERIOD = 30.0
# A file waits this many times as long as its last upload took.
WAIT_FACTOR = 10
# Files that a resumed run appends to.
APPENDED = ('metrics.jsonl', 'evaluations.jsonl', 'wandb_id.txt')


class Mirror:
  """A folder to write logs in, and the workdir that they end up in.

  A context manager; at its end everything is in the workdir.

  Args:
    workdir: Workdir of the run.
    scratch: Local folder for what is on its way to a bucket; one for temporary
      files if it is empty.
    appending: Whether the run is alone in the workdir, and goes on with the
      files that are there.

  Attributes:
    path: Folder to write in.
    evaluations: The file in it for the returns of evaluations.
  """

  def __init__(self, workdir: paths.Path, scratch: str, appending: bool):
    self._workdir = workdir
    self._remote = paths.in_bucket(workdir)
    self._ended, self._asked = threading.Event(), threading.Event()
    self.path = workdir
    name = 'evaluations'
    if self._remote:
      if not appending:
        name = f'{name}_{time.time_ns() // 1_000_000}'
      self._open(scratch, appending)
    self.evaluations = self.path / f'{name}.jsonl'

  def _open(self, scratch: str, appending: bool) -> None:
    folder = paths.local(scratch, '--scratch') if scratch else None
    if folder:
      folder.mkdir(parents=True, exist_ok=True)
    self._folder = tempfile.TemporaryDirectory(
      prefix='dreamer_nnx_', dir=folder, ignore_cleanup_errors=True
    )
    # Loggers name a run by its folder.
    self.path = pathlib.Path(self._folder.name) / self._workdir.name
    self.path.mkdir()
    self._seen: dict[str, tuple[int, int]] = {}
    self._due: dict[str, float] = {}
    for name in APPENDED if appending else ():
      with contextlib.suppress(FileNotFoundError):
        data = (self._workdir / name).read_bytes()
        (self.path / name).write_bytes(data)
        self._seen[name] = self._stamp(self.path / name)
    self._thread = threading.Thread(target=self._run, daemon=True)
    self._thread.start()

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
  ) -> None:
    try:
      self.close()
    except OSError as failed:
      if error is None:
        raise
      logging.warning('%s', failed)  # The first error is the one to tell.

  def flush(self) -> None:
    """Asks for everything to be uploaded soon, without waiting."""
    if self._remote:
      self._asked.set()

  def close(self) -> None:
    """Uploads the rest; raises OSError where the bucket refuses it."""
    if not self._remote or self._ended.is_set():
      return
    self._ended.set()
    self._asked.set()
    self._thread.join()
    try:
      self._upload(everything=True)
    finally:
      self._folder.cleanup()

  def _run(self) -> None:
    while not self._ended.is_set():
      asked = self._asked.wait(PERIOD)
      self._asked.clear()
      if self._ended.is_set():
        return
      try:
        self._upload(everything=asked)
      # The next upload takes it along; the last one tells.
      except OSError as error:
        logging.warning('%s', error)

  def _upload(self, everything: bool) -> None:
    for file in sorted(self.path.rglob('*')):
      name = file.relative_to(self.path).as_posix()
      hidden = any(part.startswith('.') for part in name.split('/'))
      if hidden or not file.is_file() or file.is_symlink():
        continue
      stamp, now = self._stamp(file), time.monotonic()
      early = not everything and now < self._due.get(name, 0.0)
      if stamp == self._seen.get(name) or early:
        continue
      self._copy(file, name)
      self._seen[name] = stamp
      self._due[name] = now + WAIT_FACTOR * (time.monotonic() - now)

  def _copy(self, file: pathlib.Path, name: str) -> None:
    try:
      paths.upload(file, self._workdir / name)
    except OSError as error:
      reason = paths.refusal(error) or error
      raise OSError(
        f'{self._workdir / name}: could not be written ({reason}).'
      ) from error

  def _stamp(self, file: pathlib.Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size
