"""A server of environments, for any Python from 3.7 on and nothing else.

  python3 mine_server.py --listen 127.0.0.1:7000   serves whoever connects
  python3 mine_server.py --connect HOST:PORT       serves one client, then ends

Put your robot, simulator or engine into `World`. Each connection has one of its
own; `--limit` says how many there may be at a time, 1 for a single robot.

A message is two numbers of 4 bytes, big-endian, the lengths of a JSON text and
of bytes, and then these two. Observations are numbers and lists in the JSON;
large arrays are `blob(bytes)`: little-endian, in the order of C.
"""

import argparse
import contextlib
import json
import random
import signal
import socket
import struct
import threading
import time
import traceback

PROTOCOL = 1
LENGTHS = struct.Struct('>II')
# Bytes that a client may send at once.
MOST = 2**20
# Seconds that a client is given to leave where another one waits.
WAIT = 2.0
# Seconds that all worlds have to close when the server is ended.
CLOSE = 5.0


class World:
  """A cart on rails that is to stand still in the middle."""

  def __init__(self):
    vector = {'type': 'box', 'dtype': 'float32'}
    image = {'type': 'box', 'dtype': 'uint8', 'low': 0, 'high': 255}
    self.observation = {
      'state': dict(vector, low=-10.0, high=10.0, shape=[2]),
      'image': dict(image, shape=[16, 16, 1]),
    }
    self.action = {
      'push': dict(vector, low=-1.0, high=1.0, shape=[1]),
      'brake': {'type': 'discrete', 'n': 2},
    }
    self.random = random.Random()

  def reset(self, seed):
    """Begins an episode; returns its first observation.

    Args:
      seed: None to go on with the same random numbers.
    """
    if seed is not None:
      self.random = random.Random(seed)
    self.place, self.speed = self.random.uniform(-1, 1), 0.0
    self.time = 0
    return self.observe()

  def step(self, action):
    """Takes an action; returns observation, reward, terminated, truncated."""
    self.time += 1
    (push,) = action['push']
    self.speed = 0.0 if action['brake'] else self.speed + push / 5
    self.place += self.speed
    away = abs(self.place)
    # Off the rails: a state from which nothing more can be earned.
    terminated = away > 2
    return self.observe(), max(0.0, 1 - away), terminated, self.time >= 200

  def observe(self):
    column = min(15, max(0, int(4 * self.place) + 8))
    row = bytes(255 if i == column else 0 for i in range(16))
    return {'state': [self.place, self.speed], 'image': blob(16 * row)}

  def close(self):
    """Stops the motors; also where the client is lost or the server ended."""


class Lost(Exception):
  """The client is gone."""


def blob(data):
  """Marks bytes that are sent as they are."""
  return memoryview(data)


def serve(connection, make):
  """Answers one client until it leaves."""
  connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
  # A client whose machine is gone is noticed in the end.
  connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
  world = None
  try:
    world = make()
    hello = {'observation': world.observation, 'action': world.action}
    send(connection, dict(hello, protocol=PROTOCOL))
    while True:
      asked = receive(connection)
      if asked is None:
        return
      send(connection, answer(world, asked))
  except Lost as error:
    print('a client was lost:', error, flush=True)
  except (Exception, SystemExit) as error:
    traceback.print_exc()
    with contextlib.suppress(Lost):
      send(connection, {'error': f'{type(error).__name__}: {error}'})
  finally:
    connection.close()
    if world is not None:
      world.close()


def answer(world, asked):
  if asked['do'] == 'reset':
    return {'obs': world.reset(asked['seed'])}
  if asked['do'] == 'step':
    obs, reward, terminated, truncated = world.step(asked['action'])
    ends = {'terminated': bool(terminated), 'truncated': bool(truncated)}
    return dict(ends, obs=obs, reward=float(reward))
  raise ValueError(f'no such request: {asked["do"]!r}')


def send(connection, message):
  """Sends a dict of JSON, in whose `obs` may be blobs."""
  blobs, obs = [], {}
  size = 0
  for key, value in message.get('obs', {}).items():
    if isinstance(value, memoryview):
      obs[key] = {'start': size, 'size': value.nbytes}
      size += value.nbytes
      blobs.append(value)
    else:
      obs[key] = value
  if obs:
    message = dict(message, obs=obs)
  text = json.dumps(message).encode()
  try:
    connection.sendall(LENGTHS.pack(len(text), size) + text + b''.join(blobs))
  except OSError as error:
    raise Lost(error) from error


def receive(connection):
  """Waits for a message; None if the client has left."""
  head = read(connection, LENGTHS.size)
  if head is None:
    return None
  length, size = LENGTHS.unpack(head)
  if length > MOST or size:
    raise ValueError(f'a message of {length + size} bytes is refused')
  text = read(connection, length)
  return None if text is None else json.loads(text.decode())


def read(connection, count):
  data = bytearray()
  while len(data) < count:
    try:
      part = connection.recv(count - len(data))
    except OSError as error:
      raise Lost(error) from error
    if not part:
      return None
    data += part
  return bytes(data)


def listen(address, make, limit):
  """Serves clients, a thread for each, until it is interrupted."""
  free, served = threading.BoundedSemaphore(limit), {}

  def run(connection):
    try:
      if free.acquire(timeout=WAIT):
        try:
          serve(connection, make)
        finally:
          free.release()
        return
      with contextlib.suppress(Lost):
        send(connection, {'error': f'busy: {limit} clients are served'})
      connection.close()
    finally:
      del served[threading.current_thread()]

  with bound(address) as server:
    try:
      while True:
        connection, _ = server.accept()
        thread = threading.Thread(target=run, args=(connection,), daemon=True)
        served[thread] = connection
        thread.start()
    finally:
      leave(served)


def bound(address):
  """Opens the socket that clients connect to, of IPv4 or IPv6."""
  host, port = address
  try:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, place = found[0]
    server = socket.socket(family, kind, protocol)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(place)
    server.listen(16)
  except OSError as error:
    raise SystemExit(
      f'cannot listen on {host}, port {port}: {error}'
    ) from error
  host, port = server.getsockname()[:2]
  host = f'[{host}]' if ':' in host else host
  print(f'listens on {host}:{port}', flush=True)
  return server


def leave(served):
  """Ends the connections; their worlds are closed by their threads."""
  threads = dict(served)
  for connection in threads.values():
    with contextlib.suppress(OSError):
      connection.shutdown(socket.SHUT_RDWR)
  end = time.monotonic() + CLOSE
  for thread in threads:
    thread.join(max(0.0, end - time.monotonic()))


def parse(address):
  host, _, port = address.rpartition(':')
  bracketed = host.startswith('[') and host.endswith(']')
  if not host or not port.isdigit() or int(port) > 65535:
    raise argparse.ArgumentTypeError(
      f'{address!r} is not HOST:PORT, such as 127.0.0.1:7000 or [::1]:7000'
    )
  return host[1:-1] if bracketed else host, int(port)


def count(text):
  if not text.isdigit() or not int(text):
    raise argparse.ArgumentTypeError(f'{text!r} is not 1 or more')
  return int(text)


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--listen', type=parse, default='127.0.0.1:7000')
  parser.add_argument('--connect', type=parse)
  parser.add_argument('--limit', type=count, default=64)
  options = parser.parse_args()
  # Worlds are closed then, as by an interrupt.
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  with contextlib.suppress(KeyboardInterrupt):
    if options.connect:
      # An interrupt from the terminal is for the client, which leaves then.
      signal.signal(signal.SIGINT, signal.SIG_IGN)
      serve(socket.create_connection(options.connect), World)
    else:
      listen(options.listen, World, options.limit)


if __name__ == '__main__':
  main()
