"""The lock of a workdir in a bucket: an object that its owner keeps renewing.

Nothing there ends with a process, so whoever finds the object waits as long as
a lease lasts: if it changes meanwhile its owner lives, else it is taken over.
"""

import contextlib
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

  Raises:
    LeaseError: A living process holds it.
    Exception: The bucket cannot be used.
  """

  def __init__(self, path: paths.Path, clock: Any = time):
    self._path, self._clock = path, clock
    self._content = {
      'owner': f'process {os.getpid()} on {socket.gethostname()}',
      'host': socket.gethostname(),
      'pid': os.getpid(),
      'token': uuid.uuid4().hex,
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
    if not self._lost:
      with contextlib.suppress(FileNotFoundError):
        self._path.unlink()

  def _take(self) -> None:
    if (found := self._read()) and not self._is_gone(found):
      self._watch(found)
    with contextlib.suppress(FileNotFoundError):
      self._path.unlink()
    try:
      paths.create(self._path, self._data())
    except FileExistsError:
      owner = (self._read() or {}).get('owner', 'another process')
      raise LeaseError(str(owner)) from None

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
        if found and found.get('token') != self._content['token']:
          self._lost = str(found.get('owner'))
          return
        self._content['renewals'] += 1
        paths.write(self._path, self._data())
      # A bucket that cannot be reached for a while; training goes on.
      except Exception as error:
        if not paths.refusal(error) and not isinstance(error, OSError):
          raise
        logging.warning('%s: not renewed (%s).', self._path, error)

  def _data(self) -> bytes:
    return json.dumps(self._content).encode()

  def _read(self) -> dict | None:
    try:
      found = json.loads(self._path.read_bytes())
    except FileNotFoundError:
      return None
    except ValueError:
      return {'owner': 'an unknown process'}
    return found if isinstance(found, dict) else {'owner': str(found)}
