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
import os, pathlib, signal, sys, time
file, end = pathlib.Path(sys.argv[1]), int(sys.argv[2])
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
count = int(file.read_text()) if file.exists() else 0
while count < end and not asked:
  count += 1
  print('at', count, flush=True)
  time.sleep(0.02)
# What is held is not over before a file is there.
while sys.argv[3:] and not asked and not os.path.exists(sys.argv[3]):
  time.sleep(0.02)
# At once: who looks meanwhile finds no half.
half = file.with_suffix('.half')
half.write_text(str(count))
os.replace(half, file)
sys.exit(75 if count < end else 0)
"""


def counter(
  folder: Path, name: str, end: int, until: Path | None = None
) -> Job:
  """A job that counts up to an end, and goes on where it was stopped.

  Args:
    until: A file that it waits for at its end.
  """
  file = folder / f'{name}.txt'
  held = [str(until)] if until else []
  return Job(
    name,
    [sys.executable, '-c', COUNTER, str(file), str(end), *held],
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
    assert time.monotonic() < end, f'not so within {seconds:g} seconds'
    status = process and process.poll()
    assert status is None, f'the process ended with status {status} before'
    time.sleep(0.05)


def never() -> bool:
  """False, of a job that cannot be finished."""
  return False
