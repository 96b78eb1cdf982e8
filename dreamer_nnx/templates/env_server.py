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
import socket
import struct
import threading
import traceback

PROTOCOL = 1
LENGTHS = struct.Struct('>II')
# Bytes that a client may send at once.
MOST = 2**20
# Seconds that a client is given to leave where another one waits.
WAIT = 2.0


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
    """Stops the motors."""


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
  except OSError as error:
    print('a client was lost:', error, flush=True)
  except Exception as error:
    traceback.print_exc()
    with contextlib.suppress(OSError):
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
  connection.sendall(LENGTHS.pack(len(text), size) + text + b''.join(blobs))


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
    part = connection.recv(count - len(data))
    if not part:
      return None
    data += part
  return bytes(data)


def listen(address, make, limit):
  """Serves clients for ever, a thread for each."""
  free = threading.BoundedSemaphore(limit)

  def run(connection):
    if not free.acquire(timeout=WAIT):
      send(connection, {'error': f'busy: {limit} clients are served'})
      connection.close()
      return
    try:
      serve(connection, make)
    finally:
      free.release()

  with socket.socket() as server:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(address)
    server.listen(16)
    print('listens on {}:{}'.format(*server.getsockname()), flush=True)
    while True:
      connection, _ = server.accept()
      threading.Thread(target=run, args=(connection,), daemon=True).start()


def parse(address):
  host, _, port = address.rpartition(':')
  return host, int(port)


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--listen', default='127.0.0.1:7000')
  parser.add_argument('--connect', default='')
  parser.add_argument('--limit', type=int, default=64)
  options = parser.parse_args()
  if options.connect:
    serve(socket.create_connection(parse(options.connect)), World)
  else:
    listen(parse(options.listen), World, options.limit)


if __name__ == '__main__':
  main()
