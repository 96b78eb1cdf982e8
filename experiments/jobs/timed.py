"""Commands that are run one by one, and the time that they take."""

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.jobs.launching import ROOT, spawn

NAMES = ('seconds', 'processor')


def call(
  command: Sequence[str], log: Path, times: Path, env: Mapping[str, str]
) -> int:
  """Runs a command in this checkout to its end; returns its exit status.

  An exception that a signal raises meanwhile ends the command, which may save,
  before it goes on.

  Args:
    log: File for what it prints.
    times: File that a line is added to: seconds, and those of processors.
    env: Environment variables beside those of this process.
  """
  begin, status = time.monotonic(), None
  with log.open('a') as out:
    process = spawn(command, out, ROOT, env)
    try:
      _, status, used = os.wait4(process.pid, 0)
    finally:
      if status is None:
        process.terminate()
        _, status, used = os.wait4(process.pid, 0)
      process.returncode = os.waitstatus_to_exitcode(status)
      values = time.monotonic() - begin, used.ru_utime + used.ru_stime
      with times.open('a') as file:
        file.write(json.dumps(dict(zip(NAMES, values, strict=True))) + '\n')
  return process.returncode


def spent(times: Path) -> dict[str, float]:
  """Sums the lines of a file of times."""
  lines = [json.loads(line) for line in times.read_text().splitlines()]
  return {name: sum(line[name] for line in lines) for name in NAMES}


def machine() -> dict[str, object]:
  """Describes the machine, by `boot` its present start, too.

  Two of one model need not be of one speed: times are compared where all is
  the same.
  """
  lines = _text('/proc/cpuinfo').splitlines()
  models = [
    x.split(':')[1].strip() for x in lines if x.startswith('model name')
  ]
  model = models[0] if models else platform.processor()
  boot = _text('/proc/sys/kernel/random/boot_id')[:8]
  return {'cores': os.cpu_count(), 'model': model, 'boot': boot}


def _text(path: str) -> str:
  """The text of a file of the system; empty where there is none."""
  file = Path(path)
  return file.read_text() if file.exists() else ''
