"""Workers that are processes of this machine, one for each environment."""

import contextlib
import multiprocessing
import os
import pickle
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle

from dreamer_nnx.envs import host as hosts
from dreamer_nnx.envs import orphans, terminations
from dreamer_nnx.envs.fleet import (
  START_SECONDS,
  WorkerHung,
  WorkerLost,
  remaining,
)
from dreamer_nnx.envs.host import Host
from dreamer_nnx.notices import Keeper

# A fork of this process would inherit the locks of JAX's threads as they are;
# on macOS no process that has loaded the system's libraries may fork.
CONTEXT = 'spawn' if sys.platform == 'darwin' else 'forkserver'
# Seconds that a process may take to be gone once it has to be.
END_SECONDS = 5.0
READY = b'ready'
FORK_SERVER = 'dreamer_nnx.envs.fork_server'


class ProcessHub:
  """Starts processes; see `fleet.Hub`."""

  def __init__(self, timeout: float, where: str) -> None:
    del where
    self._timeout = timeout
    self._context = multiprocessing.get_context(CONTEXT)
    self._context.set_forkserver_preload([__name__, FORK_SERVER])
    self._reaper = orphans.Reaper()

  def connect(self, make: Callable[[], Host], index: int) -> 'Process':
    del index
    return Process(make, self._timeout, self._context, self._reaper)

  def close(self) -> None:
    self._reaper.close()


class Process:
  """A link to an environment in a process of its own; see `fleet.Link`."""

  hint = "Its own words are above; workers = 'sync' shows the error here."

  def __init__(
    self,
    make: Callable[[], Host],
    timeout: float,
    context: multiprocessing.context.BaseContext,
    reaper: orphans.Reaper,
  ) -> None:
    self._timeout, self._reaper = timeout, reaper
    self._hung = self._name = ''
    self._asked = time.monotonic()
    self._connection, worker_end = context.Pipe()
    self._process = context.Process(
      target=serve, args=(worker_end,), daemon=True
    )
    with _without_main():
      self._process.start()
    worker_end.close()
    reaper.add(self._process.pid)
    self._selector = selectors.DefaultSelector()
    for file in (self._connection, self._process.sentinel):
      self._selector.register(file, selectors.EVENT_READ)
    self._make: bytes | None = cloudpickle.dumps(make)

  def ask(self, name: str, *arguments: Any) -> None:
    if self._make is not None:
      self._begin(self._make)
      self._make = None
    self._name, self._asked = name, time.monotonic()
    # If the process is gone, `receive` will say so.
    with contextlib.suppress(OSError):
      _send(self._connection, (name, arguments))

  def receive(self) -> Any:
    if self._hung:
      raise WorkerHung
    ready = self._wait() or self._wait()
    if not ready:
      seconds = f'{self._timeout:g} seconds'
      self._hung = f'{self._name} has not returned for {seconds}'
      raise WorkerHung
    if self._connection not in [key.fileobj for key, _ in ready]:
      raise WorkerLost
    try:
      answer = _receive(self._connection)
    except (EOFError, OSError) as error:
      raise WorkerLost from error
    return hosts.received(answer)

  def discard(self) -> str:
    if not self._hung:
      self._process.join(END_SECONDS)
    code = self._process.exitcode
    self._dispose()
    if self._hung:
      return f'{self._hung} (step_timeout), its process was killed'
    return f'its process died (exit code {code})'

  def release(self) -> None:
    self._connection.close()

  def close(self, deadline: float) -> list[str]:
    self._process.join(max(0.0, deadline - time.monotonic()))
    return self._dispose()

  def _begin(self, make):
    ready = self._selector.select(START_SECONDS if self._timeout else None)
    if not ready:
      self._hung = f'its process has not started for {START_SECONDS:g} seconds'
    # This runs code of the environment, so it comes after the reaper knows.
    with contextlib.suppress(EOFError, OSError):
      if ready and self._connection.recv_bytes():
        self._connection.send_bytes(make)

  def _wait(self):
    return self._selector.select(remaining(self._asked, self._timeout))

  def _dispose(self) -> list[str]:
    """Frees everything, whatever state the process and the pipe are in."""
    process, said = self._process, []
    if process.exitcode is None:
      orphans.kill(process.pid)
      process.join(END_SECONDS)
    elif orphans.kill_group(process.pid):
      said.append('the environment left processes behind; they were ended')
    self._reaper.remove(process.pid)
    self._selector.close()
    self._connection.close()
    # A process that waits for a device may outlive its kill a while.
    if process.exitcode is not None:
      process.close()
    return said


def serve(connection: Connection) -> None:
  """Runs a worker: makes a `Host` and calls the methods it is asked for.

  It ends when the other end of the connection is closed.
  """
  # An interrupt from the terminal is for the main process, which saves and
  # closes its workers then. The group is what is killed with this process.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  terminations.leave_to_main()
  os.setpgid(0, 0)
  with contextlib.suppress(EOFError, ConnectionError):
    connection.send_bytes(READY)
    keeper = Keeper()
    host = _receive(connection)()
    try:
      while True:
        name, arguments = _receive(connection)
        _send(connection, hosts.call(host, name, arguments, keeper))
    finally:
      host.close()


def _send(connection: Connection, value: Any) -> None:
  # `Connection.send` looks for more kinds of objects, at twice the time.
  connection.send_bytes(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def _receive(connection: Connection) -> Any:
  return pickle.loads(connection.recv_bytes())


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
  """Keeps new processes from importing the main module of this one.

  Makers are pickled whole, so they do not need it; it would load the agent
  with all its libraries into every worker, and run scripts a second time
  that do not guard their last lines.
  """
  main = sys.modules['__main__']
  saved = {k: vars(main).pop(k, None) for k in ('__spec__', '__file__')}
  main.__spec__ = None
  try:
    yield
  finally:
    for key, value in saved.items():
      if value is not None or key == '__spec__':
        setattr(main, key, value)
