"""Environments in another process: a robot, a simulator, another Python.

    --config.env.name=custom --config.env.custom.make=mine:make

connects to `mine_server.py`, which runs there. A lost connection, or one that
is too slow, raises: the episode is then cut off, and the next one begins with
a new connection.
"""

import contextlib
import json
import math
import shlex
import socket
import struct
import subprocess
import time

import gymnasium
import numpy as np

PROTOCOL = 1
LENGTHS = struct.Struct('>II')
# Bytes that a server may send at once, and seconds between tries to connect.
MOST, PAUSE = 2**28, 0.2


def make(
  address: str = '127.0.0.1:7000',
  command: str = '',
  timeout: float = 10.0,
  start_timeout: float = 50.0,
) -> gymnasium.Env:
  """Makes one environment.

  Args:
    address: Host and port of a server that runs; for another machine use a
      tunnel, `ssh -N -L 7000:127.0.0.1:7000 HOST`, for nothing is encrypted.
    command: Starts a server for this environment alone in place of that, such
      as 'python3.8 mine_server.py', which connects back.
    timeout: Seconds for a reset or a step.
    start_timeout: Seconds until the server has to be there. Together with
      those of all restarts they must be fewer than `step_timeout`.
  """
  for name, seconds in (('timeout', timeout), ('start_timeout', start_timeout)):
    if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
      raise ValueError(f'{name} = {seconds!r}: must be seconds above 0')
  return Remote(address, command, timeout, start_timeout)


class Remote(gymnasium.Env):
  """An environment of a server.

  Raises:
    ConnectionError: The server is gone, too slow, or not one of this kind;
      the environment is closed then.
    RuntimeError: The environment failed there, with its own words.
  """

  def __init__(self, address, command, timeout, start_timeout):
    self._process = self._socket = None
    self._server = command or address
    try:
      self._socket = self._connected(address, command, start_timeout)
      hello, _ = self._receive(start_timeout)
      if hello.get('protocol') != PROTOCOL:
        raise self._error(
          f'protocol {hello.get("protocol")!r}, not {PROTOCOL}: take client '
          'and server of the same version'
        )
      self.observation_space = _spaces(hello['observation'])
      self.action_space = _spaces(hello['action'])
    except BaseException:
      self.close()
      raise
    self._timeout = timeout

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    return self._observed(*self._ask({'do': 'reset', 'seed': seed})), {}

  def step(self, action):
    numbers = {key: np.asarray(x).tolist() for key, x in action.items()}
    told, data = self._ask({'do': 'step', 'action': numbers})
    ends = told['terminated'], told['truncated']
    return self._observed(told, data), told['reward'], *ends, {}

  def close(self):
    connection, self._socket = self._socket, None
    if connection is not None:
      connection.close()
    process, self._process = self._process, None
    if process is not None:
      # It ends by itself once the connection is closed.
      with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2)
      process.kill()
      process.wait()

  def _connected(self, address, command, seconds):
    if not command:
      return _connect(address, seconds)
    deadline = time.monotonic() + seconds
    with socket.create_server(('127.0.0.1', 0)) as server:
      server.settimeout(PAUSE)
      host, port = server.getsockname()
      words = [*shlex.split(command), '--connect', f'{host}:{port}']
      self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
      while True:
        with contextlib.suppress(TimeoutError):
          connection, _ = server.accept()
          break
        # One that ends without a fault may have started another process.
        if code := self._process.poll():
          raise self._error(f'it ended with status {code}, see its words above')
        if time.monotonic() > deadline:
          raise self._error(f'it did not connect within {seconds:g} seconds')
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection

  def _error(self, what):
    return ConnectionError(f'{self._server!r}: {what}')

  def _ask(self, message):
    if self._socket is None:
      raise self._error('the connection is closed, make another environment')
    text = json.dumps(message).encode()
    try:
      self._send(LENGTHS.pack(len(text), 0) + text)
      return self._receive(self._timeout)
    except BaseException:
      # What comes late would be taken for the answer to something else.
      self.close()
      raise

  def _send(self, data):
    try:
      self._socket.settimeout(self._timeout)
      self._socket.sendall(data)
    except OSError as error:
      raise self._error(f'the server is gone ({error})') from error

  def _receive(self, seconds):
    """Waits for a message; returns its dict and its bytes."""
    deadline = time.monotonic() + seconds
    length, size = LENGTHS.unpack(self._read(LENGTHS.size, deadline, seconds))
    if length + size > MOST:
      raise self._error(
        f'a message of {length + size} bytes is refused, of {MOST} at most; '
        'is this a server of environments?'
      )
    text = self._read(length, deadline, seconds)
    data = self._read(size, deadline, seconds)
    try:
      message = json.loads(text)
    except (ValueError, RecursionError):
      message = None
    if not isinstance(message, dict):
      raise self._error('this is no server of environments')
    if 'error' in message:
      raise RuntimeError(message['error'])
    return message, data

  def _read(self, count, deadline, seconds):
    data = bytearray(count)
    view, done = memoryview(data), 0
    while done < count:
      try:
        self._socket.settimeout(max(1e-3, deadline - time.monotonic()))
        got = self._socket.recv_into(view[done:])
      except TimeoutError as error:
        raise self._error(f'no answer within {seconds:g} seconds') from error
      except OSError as error:
        raise self._error(f'the server is gone ({error})') from error
      if not got:
        raise self._error('the server has closed the connection')
      done += got
    return data

  def _observed(self, told, data):
    # An entry in no space is left to those who check.
    spaces = self.observation_space.spaces
    return {
      key: _array(spaces[key], value, data) if key in spaces else value
      for key, value in told['obs'].items()
    }


def _connect(address, seconds):
  """Connects, also to a server that is only about to start."""
  place = _parse(address)
  deadline = time.monotonic() + seconds
  while True:
    left = max(PAUSE, deadline - time.monotonic())
    try:
      connection = socket.create_connection(place, left)
    except OSError as error:
      if time.monotonic() > deadline:
        raise ConnectionError(f'no server at {address} ({error})') from error
      time.sleep(PAUSE)
      continue
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _parse(address):
  host, _, port = str(address).rpartition(':')
  if not host or not port.isdigit() or int(port) > 65535:
    raise ValueError(
      f'address = {address!r}: must be HOST:PORT, such as 127.0.0.1:7000 or '
      '[::1]:7000'
    )
  return host.removeprefix('[').removesuffix(']'), int(port)


def _spaces(described):
  spaces = {}
  for key, entry in described.items():
    try:
      spaces[key] = _space(entry)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
      what = f'the server describes {key!r} by {entry}'
      raise ValueError(f'{what}: {type(error).__name__}: {error}') from error
  return gymnasium.spaces.Dict(spaces)


def _space(described):
  if described['type'] == 'discrete':
    return gymnasium.spaces.Discrete(described['n'])
  if described['type'] != 'box':
    raise ValueError("the type must be 'box' or 'discrete'")
  low, high = (
    np.asarray(described[name], described['dtype']) for name in ('low', 'high')
  )
  shape = tuple(described['shape'])
  low, high = np.broadcast_to(low, shape), np.broadcast_to(high, shape)
  return gymnasium.spaces.Box(low, high, shape, np.dtype(described['dtype']))


def _array(space, value, data):
  """Reads an array from JSON, or from the bytes beside it."""
  if isinstance(value, dict):
    return _blob(space, value['start'], value['size'], data)
  array = np.asarray(value)
  if array.dtype.kind in 'fiub':
    with np.errstate(invalid='ignore', over='ignore'):
      cast = array.astype(space.dtype)
    if cast.dtype.kind == 'f' or np.array_equal(cast, array):
      return cast
  # As it came: it is to be refused, and not to become another number.
  return array


def _blob(space, start, size, data):
  dtype = np.dtype(space.dtype).newbyteorder('<')
  count = math.prod(space.shape)
  if size != count * dtype.itemsize or start + size > len(data):
    raise ConnectionError(f'{size} bytes came for {space}')
  array = np.frombuffer(data, dtype, count, start).reshape(space.shape)
  return array.astype(space.dtype)
