"""The lock of a workdir in a bucket: an object that its owner keeps renewing.

Nothing there ends with a process, so whoever finds the object waits as long as
a lease lasts: if it changes meanwhile its owner lives, else it is taken over.
"""

import json
import os
import socket
import threading
import time
import uuid
from typing import Any

from absl import logging

from dreamer_nnx import paths

# Seconds that a lease lasts, and between two renewals.
LASTS = 30.0
RENEWED = 8.0


class LeaseError(Exception):
  """Somebody else holds the lease; the message names them."""


class Lease:
  """Holds an object until it is closed.

  Args:
    path: Path of the object.

  Attributes:
    holds: Whether the store lets one process alone create an object.
    token: What the object says of this lease alone.

  Raises:
    LeaseError: A living process holds it.
    OSError: The bucket cannot be used.
  """

  def __init__(self, path: paths.Path, clock: Any = time):
    self._path, self._clock = path, clock
    self.token = uuid.uuid4().hex
    self._content = {
      'owner': f'process {os.getpid()} on {socket.gethostname()}',
      'host': socket.gethostname(),
      'pid': os.getpid(),
      'token': self.token,
      'renewals': 0,
    }
    self._ended = threading.Event()
    self._lost = ''
    self._take()
    self.holds = not self._created_twice()
    self._thread = threading.Thread(target=self._keep, daemon=True)
    self._thread.start()

  def check(self) -> None:
    """Raises LeaseError if the lease was lost meanwhile."""
    if self._lost:
      raise LeaseError(self._lost)

  def close(self) -> None:
    """Gives the lease back."""
    self._ended.set()
    self._thread.join()
    try:
      if not self._lost and (self._read() or {}).get('token') == self.token:
        self._path.unlink(missing_ok=True)
    # It ends by itself; what the run ended with is the one to tell.
    except OSError as error:
      logging.warning('%s: left behind (%s).', self._path, error)

  def _take(self) -> None:
    if (found := self._read()) and not self._is_gone(found):
      self._watch(found)
    self._path.unlink(missing_ok=True)
    try:
      paths.create(self._path, self._data())
    except FileExistsError:
      now = self._read() or {}
      # An answer that was lost on its way had the client try again.
      if now.get('token') != self.token:
        raise LeaseError(str(now.get('owner', 'another process'))) from None

  def _watch(self, found: dict) -> None:
    """Waits until the lease found is over, or its owner shows to be alive."""
    print(
      f'{self._path} was left by {found.get("owner")}, or is held by it: '
      f'waiting {LASTS:.0f} s to see.',
      flush=True,
    )
    end = self._clock.monotonic() + LASTS
    while self._clock.monotonic() < end:
      self._clock.sleep(1)
      now = self._read()
      if not now:
        return
      if now != found:
        raise LeaseError(str(now.get('owner')))

  def _is_gone(self, found: dict) -> bool:
    """Tells whether the owner was a process of this machine that has ended."""
    if found.get('host') != socket.gethostname():
      return False
    pid = found.get('pid')
    if pid == os.getpid():
      return True  # A container that was started again counts from 1.
    try:
      os.kill(int(pid), 0)
    except ProcessLookupError:
      return True
    except (OSError, TypeError, ValueError):
      return False
    return False

  def _created_twice(self) -> bool:
    try:
      paths.create(self._path, self._data())
    except FileExistsError:
      return False
    return True

  def _keep(self) -> None:
    while not self._ended.wait(RENEWED):
      try:
        found = self._read()
        if found and found.get('token') != self.token:
          self._lost = str(found.get('owner'))
          return
        self._content['renewals'] += 1
        paths.write(self._path, self._data())
      # A bucket that cannot be reached for a while; training goes on.
      except OSError as error:
        logging.warning('%s: not renewed (%s).', self._path, error)

  def _data(self) -> bytes:
    return json.dumps(self._content).encode()

  def _read(self) -> dict | None:
    try:
      found = json.loads(paths.read(self._path))
    except FileNotFoundError:
      return None
    except ValueError:
      return {'owner': 'an unknown process'}
    return found if isinstance(found, dict) else {'owner': str(found)}
