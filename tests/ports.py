"""Ports of this machine for servers that processes of tests start."""

import socket

# They keep their ports for good.
_TAKEN: list[socket.socket] = []


def reserved() -> int:
  """A port that nobody is given meanwhile, but a server can listen at."""
  taken = socket.socket()
  # As servers do; then others may bind it as long as this one does not listen.
  taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
  taken.bind(('127.0.0.1', 0))
  _TAKEN.append(taken)
  return taken.getsockname()[1]
