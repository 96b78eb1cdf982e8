"""Runs commands in processes of their own, each at most once at a time."""

import contextlib
import dataclasses
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

BOUND = Path(__file__).with_name('bound.py')
ROOT = Path(__file__).resolve().parents[2]
# Exit status of a run that a signal has ended, and that goes on another time.
STOPPED = 75
STOPPED_TEXT = 'was stopped, and can go on.'
STOPPING = 'Stopping: waiting for the runs to save.'
# Status of a process that a signal has ended before it could answer that.
UNPREPARED = (-signal.SIGTERM, -signal.SIGINT)
# Seconds between looks at the processes.
LOOK = 0.2
# Lines of its output that tell why a job failed.
TAIL = 12
Say = Callable[[str], None]


def say(text: str) -> None:
  """Prints at once, for those who follow a file."""
  print(text, flush=True)


@dataclasses.dataclass
class Job:
  """A command, and where its output goes.

  Args:
    finished: Tells whether there is nothing left to do.
    folder: It runs in; by default the current one.
    problem: Says why it failed, if it did.
  """

  name: str
  command: Sequence[str]
  log: Path
  finished: Callable[[], bool]
  folder: Path | None = None
  problem: str = ''
  process: subprocess.Popen | None = None


class Launcher:
  """Runs jobs, some at a time, until all are finished or it is stopped.

  The output of a job is a locked file, which the process inherits: what still
  writes it, of another launcher or of one that was killed, is waited for.

  Args:
    parallel: How many run at the same time.
    say: Is told what happens.
  """

  def __init__(self, parallel: int, say: Say = say):
    self.parallel, self.say = parallel, say
    self.running: list[Job] = []
    self.ending: list[Job] = []
    self.stopped = self.told = False
    self.failed: list[Job] = []
    self.busy: list[Job] = []

  def __call__(self, jobs: Sequence[Job]) -> int:
    """Runs them; returns how many were finished by it or before."""
    waiting, done = list(jobs), 0
    with signals_to(self._stop):
      while (waiting and not self.stopped) or self.running:
        done += self._collect()
        done += self._start(waiting)
        self._end()
        if self.running or waiting:
          time.sleep(LOOK)
    return done

  def _start(self, waiting: list[Job]) -> int:
    """Starts what it may; returns how many jobs were finished before."""
    done = 0
    for job in list(waiting):
      if len(self.running) >= self.parallel or self.stopped:
        break
      try:
        done += self._try(job, waiting)
      except OSError as error:
        self._fail(job, f'cannot be started ({error})')
        waiting.remove(job)
    return done

  def _try(self, job: Job, waiting: list[Job]) -> int:
    """Starts a job, unless another process has it; 1 if it is finished."""
    log = _locked(job.log)
    if log is None:
      if job not in self.busy:
        self.busy.append(job)
        self.say(f'{job.name}: another process runs it: waiting for that.')
      return 0
    with log:
      if done := job.finished():
        self.say(f'{job.name}: is finished.')
      else:
        self.say(f'{job.name}: begins, or goes on.')
        job.process = spawn(job.command, log, job.folder)
        self.running.append(job)
    waiting.remove(job)
    return int(done)

  def _collect(self) -> int:
    """Takes out what has ended; returns how many of these finished."""
    done = 0
    for job in list(self.running):
      status = job.process.poll()
      if status is None:
        continue
      self.running.remove(job)
      try:
        done += self._conclude(job, status)
      except OSError as error:
        self._fail(job, f'its files cannot be read ({error})')
    return done

  def _conclude(self, job: Job, status: int) -> int:
    """Tells how a job ended; returns 1 if it is finished."""
    if status == 0 and job.finished():
      self.say(f'{job.name}: finished.')
      return 1
    if status == STOPPED or (self.stopped and status in UNPREPARED):
      self.say(f'{job.name}: {STOPPED_TEXT}')
    else:
      self._fail(job, _reason(status))
    return 0

  def _fail(self, job: Job, problem: str) -> None:
    self.failed.append(job)
    job.problem = problem
    last = ''.join(tail(job.log, 1)).strip()
    more = f' It ends: {last}' if last else ''
    self.say(f'{job.name}: {problem}; see {job.log}.{more}')

  def _stop(self, number: int, frame: object) -> None:
    """Notes that all is to end; the loop, wherever it is now, does that."""
    del number, frame
    self.stopped = True

  def _end(self) -> None:
    """Ends all processes once it was stopped, each once; they save first.

    SIGINT may be blocked in them, as it is in workers of Ray.
    """
    if not self.stopped:
      return
    if not self.told:
      self.told = True
      self.say(STOPPING)
    for job in self.running:
      if job not in self.ending:
        self.ending.append(job)
        job.process.terminate()


@contextlib.contextmanager
def signals_to(end: Callable[[int, object], None]) -> Iterator[None]:
  """Calls a function for the signals that end a program."""
  numbers = signal.SIGINT, signal.SIGTERM
  before = {number: signal.signal(number, end) for number in numbers}
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def conclude(
  done: int, count: int, failed: Sequence[Job], say: Say = say
) -> int:
  """Says how many jobs are finished, and why others failed.

  Returns:
    The exit status: 0 if all are finished, 1 if any failed, or that of what
    can go on.
  """
  say(f'{done} of {count} runs are finished, {len(failed)} failed.')
  for job in failed:
    say(f'\n{job.name}: {job.problem}; the end of {job.log}:')
    say(''.join(f'  {line}\n' for line in tail(job.log)))
  if failed:
    return 1
  return 0 if done == count else STOPPED


def tail(log: Path, count: int = TAIL) -> list[str]:
  """The last lines of a file that are not empty."""
  try:
    lines = log.read_text(errors='replace').split('\n')
  except OSError:
    return []
  return [line.rstrip() for line in lines if line.strip()][-count:]


def _locked(path: Path) -> TextIO | None:
  """Opens a file to append to; None while another process writes it."""
  path.parent.mkdir(parents=True, exist_ok=True)
  file = path.open('a')
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    file.close()
    return None
  except OSError:
    pass  # Some network file systems have no locks.
  return file


def spawn(
  command: Sequence[str],
  log: TextIO,
  folder: Path | None = None,
  env: Mapping[str, str] | None = None,
) -> subprocess.Popen:
  """Starts a process that signals of the terminal do not reach by themselves.

  Those come from the launcher, once: a second one would end it unsaved.

  Args:
    folder: It runs in; by default the current one.
    env: Environment variables beside those of this process.
  """
  path = filter(None, (str(ROOT), os.environ.get('PYTHONPATH')))
  more = {'PYTHONPATH': os.pathsep.join(path)} | dict(env or {})
  return subprocess.Popen(
    [sys.executable, str(BOUND), str(os.getpid()), *command],
    cwd=folder,
    env=os.environ | more,
    stdin=subprocess.DEVNULL,
    stdout=log,
    stderr=subprocess.STDOUT,
    start_new_session=True,
  )


def _reason(status: int) -> str:
  """Says why a job failed."""
  if status < 0:
    with contextlib.suppress(ValueError):
      return f'killed by {signal.Signals(-status).name}'
  if not status:
    return 'ended before its work was done'
  return f'failed with status {status}'
