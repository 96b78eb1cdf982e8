"""Jobs for the tests: they count, and train nothing."""

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

from experiments.jobs.launching import Job

# Saves what it has when it is told to end, and goes on from there.
COUNTER = """
import pathlib, signal, sys, time
file, end = pathlib.Path(sys.argv[1]), int(sys.argv[2])
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
count = int(file.read_text()) if file.exists() else 0
while count < end and not asked:
  count += 1
  print('at', count, flush=True)
  time.sleep(0.02)
file.write_text(str(count))
sys.exit(75 if count < end else 0)
"""


def counter(folder: Path, name: str, end: int) -> Job:
  """A job that counts up to an end, and goes on where it was stopped."""
  file = folder / f'{name}.txt'
  return Job(
    name,
    [sys.executable, '-c', COUNTER, str(file), str(end)],
    folder / f'{name}.log',
    functools.partial(reached, file, end),
  )


def reached(file: Path, end: int) -> bool:
  """Tells whether a counter has come to its end."""
  return file.exists() and int(file.read_text()) >= end


def wait_for(
  ready: Callable[[], bool], process: Popen | None = None, seconds: float = 60
) -> None:
  """Waits until something is so, while a process runs."""
  end = time.monotonic() + seconds
  while not ready():
    assert time.monotonic() < end
    assert process is None or process.poll() is None
    time.sleep(0.05)


def never() -> bool:
  """False, of a job that cannot be finished."""
  return False
