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
  start_timeout: float = 60.0,
) -> gymnasium.Env:
  """Makes one environment.

  Args:
    address: Host and port of a server that runs; for another machine use a
      tunnel, `ssh -N -L 7000:127.0.0.1:7000 HOST`, for nothing is encrypted.
    command: Starts a server for this environment alone in place of that, such
      as 'python3.8 mine_server.py', which connects back.
    timeout: Seconds for a reset or a step.
    start_timeout: Seconds until the server has to be there.
  """
  return Remote(address, command, timeout, start_timeout)


class Remote(gymnasium.Env):
  """An environment of a server.

  Raises:
    ConnectionError: The server is gone, too slow, or not one of this kind.
    RuntimeError: The environment failed there, with its own words.
  """

  def __init__(self, address, command, timeout, start_timeout):
    self._process = self._socket = None
    try:
      self._socket = self._connected(address, command, start_timeout)
      hello, _ = self._receive(start_timeout)
      if hello.get('protocol') != PROTOCOL:
        raise ConnectionError(
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
    with socket.create_server(('127.0.0.1', 0)) as server:
      server.settimeout(seconds)
      host, port = server.getsockname()
      words = [*shlex.split(command), '--connect', f'{host}:{port}']
      self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
      try:
        connection, _ = server.accept()
      except TimeoutError as error:
        raise ConnectionError(
          f'{command!r} did not connect within {seconds:g} seconds'
        ) from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection

  def _ask(self, message):
    text = json.dumps(message).encode()
    try:
      self._socket.sendall(LENGTHS.pack(len(text), 0) + text)
    except OSError as error:
      raise ConnectionError(f'the server is gone ({error})') from error
    return self._receive(self._timeout)

  def _receive(self, seconds):
    """Waits for a message; returns its dict and its bytes."""
    deadline = time.monotonic() + seconds
    length, size = LENGTHS.unpack(self._read(LENGTHS.size, deadline, seconds))
    if length + size > MOST:
      raise ConnectionError(f'a message of {length + size} bytes is refused')
    text = self._read(length, deadline, seconds)
    data = self._read(size, deadline, seconds)
    try:
      message = json.loads(text)
    except ValueError as error:
      raise ConnectionError('this is no server of environments') from error
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
        raise ConnectionError(
          f'no answer within {seconds:g} seconds'
        ) from error
      except OSError as error:
        raise ConnectionError(f'the server is gone ({error})') from error
      if not got:
        raise ConnectionError('the server has closed the connection')
      done += got
    return data

  def _observed(self, told, data):
    spaces = self.observation_space.spaces
    return {k: _array(spaces[k], x, data) for k, x in told['obs'].items()}


def _connect(address, seconds):
  """Connects, also to a server that is only about to start."""
  host, _, port = address.rpartition(':')
  deadline = time.monotonic() + seconds
  while True:
    try:
      connection = socket.create_connection((host, int(port)), seconds)
    except OSError as error:
      if time.monotonic() > deadline:
        raise ConnectionError(f'no server at {address} ({error})') from error
      time.sleep(PAUSE)
      continue
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _spaces(described):
  return gymnasium.spaces.Dict({k: _space(x) for k, x in described.items()})


def _space(described):
  if described['type'] == 'discrete':
    return gymnasium.spaces.Discrete(described['n'])
  low, high = (
    np.asarray(described[name], described['dtype']) for name in ('low', 'high')
  )
  shape = tuple(described['shape'])
  low, high = np.broadcast_to(low, shape), np.broadcast_to(high, shape)
  return gymnasium.spaces.Box(low, high, shape, np.dtype(described['dtype']))


def _array(space, value, data):
  """Reads an array from JSON, or from the bytes beside it."""
  dtype = np.dtype(space.dtype).newbyteorder('<')
  if not isinstance(value, dict):
    return np.asarray(value, space.dtype)
  start, size = value['start'], value['size']
  count = math.prod(space.shape)
  if size != count * dtype.itemsize or start + size > len(data):
    raise ConnectionError(f'{size} bytes came for {space}')
  array = np.frombuffer(data, dtype, count, start).reshape(space.shape)
  return array.astype(space.dtype)
