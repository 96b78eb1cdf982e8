"""A stand-in for Ray in the tests: tasks in plain processes."""

import multiprocessing
import os
import signal
import time
import types
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from experiments.jobs.launching import Job

Function = Callable[[Job], Any]


class RayError(Exception):
  """An error of Ray."""


def answer(pipe: Connection, function: Function, job: Job) -> None:
  """Runs in the process of a task."""
  pipe.send(function(job))


class Reference:
  """A task in a process of its own."""

  def __init__(self, function: Function, job: Job):
    context = multiprocessing.get_context('spawn')
    self.pipe, end = context.Pipe()
    given = end, function, job
    self.process = context.Process(target=answer, args=given)
    self.process.start()
    end.close()


class Ray:
  """Functions of the package ray; `options` are those of its tasks."""

  exceptions = types.SimpleNamespace(
    RayError=RayError, TaskCancelledError=type('Cancelled', (RayError,), {})
  )

  def __init__(self):
    self.options: list[dict[str, Any]] = []

  def remote(self, function: Function) -> Any:
    task = types.SimpleNamespace(remote=lambda job: Reference(function, job))
    options = lambda **given: self.options.append(given) or task
    return types.SimpleNamespace(options=options)

  def wait(
    self, references: list[Reference], timeout: float
  ) -> tuple[list[Reference], list[Reference]]:
    time.sleep(timeout)
    ended = [x for x in references if not x.process.is_alive()][:1]
    return ended, [x for x in references if x not in ended]

  def get(self, reference: Reference) -> Any:
    try:
      return reference.pipe.recv()
    except EOFError:
      raise RayError('it died') from None

  def cancel(self, reference: Reference) -> None:
    os.kill(reference.process.pid, signal.SIGINT)
