"""The processes of a run: joining, agreeing, and gathering at one place.

Each steps its own environments, keeps its own replay and brings its own rows
of every batch. All of them run the same updates, so whatever decides whether
there is one has to be agreed on. With one process everything here is free.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from dreamer_nnx.errors import UserError
from dreamer_nnx.training.checkpoint_files import first_line

# A process that is gone is noticed after so many seconds.
HEARTBEAT = 30
# Seconds for all to fail, where one has.
LEAVE = 10.0


def join(
  coordinator: str | None = None,
  count: int | None = None,
  index: int | None = None,
) -> None:
  """Connects this process to the others; before JAX sees any device.

  Args:
    coordinator: `host:port` of process 0; without it the cluster says all
      three (Cloud TPU, GKE, SLURM, Open MPI).

  Raises:
    ValueError: Only some of the three are given, no cluster is found, or
      this machine has no address.
  """
  given = (coordinator, count, index)
  if None in given and given != (None, None, None):
    names = ('coordinator_address', 'num_processes', 'process_id')
    raise UserError(
      f'goes with {", ".join(f"--{name}" for name in names)}: give all three, '
      'or none on a cluster that says them.',
      next(
        f'--{n}' for n, x in zip(names, given, strict=True) if x is not None
      ),
    )
  if count is not None and not 0 <= index < count:
    raise UserError(
      f'must be in [0, {count}), for there are --num_processes = {count}.',
      '--process_id',
      index,
    )
  try:
    jax.distributed.initialize(
      coordinator, count, index, heartbeat_timeout_seconds=HEARTBEAT
    )
  except (ValueError, RuntimeError) as error:
    raise UserError(
      f'the processes cannot be joined ({first_line(error)}). Outside of Cloud '
      'TPU, GKE, SLURM and Open MPI give --coordinator_address, '
      '--num_processes and --process_id.',
      '--distributed',
    ) from error
  _meet()


def _meet() -> None:
  """Connects all while they are here, see `sharding.connect`."""
  try:
    anywhere(False)
  except RuntimeError as error:
    name = socket.gethostname()
    if has_address(name):
      raise
    raise UserError(
      f'the name of this machine, {name!r}, has no address, by which processes '
      'on CPUs find each other. Add it to /etc/hosts.',
      '--distributed',
    ) from error


def has_address(name: str) -> bool:
  """Tells whether the name of a machine leads to an address."""
  try:
    return bool(socket.getaddrinfo(name, None))
  except OSError:
    return False


def leave() -> None:
  """Waits a while for all processes to leave, before this one ends at once.

  Without the first, others are ended before they have said what they have to.
  """

  def meet():
    with contextlib.suppress(Exception):
      jax.distributed.shutdown()

  meeting = threading.Thread(target=meet, daemon=True)
  meeting.start()
  meeting.join(LEAVE)


def count() -> int:
  return jax.process_count()


def index() -> int:
  return jax.process_index()


def first() -> bool:
  """Tells whether this is the process that prints and logs."""
  return index() == 0


def print_once(*lines: str, sep: str = ' ') -> None:
  """Prints, in the first process alone."""
  if first():
    print(*lines, sep=sep, flush=True)


def local_share(total: int, path: str) -> int:
  """Returns what falls to each process of the total at a config path.

  Raises:
    UserError: It does not divide.
  """
  return share(total, count(), path)


def share(total: int, among: int, path: str) -> int:
  """Returns what falls to each of some processes; see `local_share`."""
  if total % among:
    raise UserError(
      f'must be a multiple of the {among} processes.', path, total
    )
  return total // among


def anywhere(flag: bool) -> bool:
  """Tells whether the flag is set in any process; all have to ask."""
  if count() == 1:
    return flag
  return bool(multihost_utils.process_allgather(np.array(flag)).any())


def gather(value: Any) -> list:
  """A JSON-able value of every process, in order; all have to give one."""
  if count() == 1:
    return [value]
  data = np.frombuffer(json.dumps(value).encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.array(data.size))
  # Few different sizes, for each is a program to compile.
  padded = np.zeros(1 << int(sizes.max()).bit_length(), np.uint8)
  padded[: data.size] = data
  rows = multihost_utils.process_allgather(padded)
  return [
    json.loads(row[:size].tobytes())
    for row, size in zip(rows, sizes, strict=True)
  ]


def in_first(function: Callable[[], Any], kind: type[Exception]) -> Any:
  """Returns what a function does in the first process, JSON-able, to all.

  Raises:
    Exception: The function raised one of this kind; it is raised in all.
  """
  result = error = None
  if first():
    try:
      result = function()
    except kind as caught:
      error = str(caught)
  result, error = gather([result, error])[0]
  if error is not None:
    raise kind(error)
  return result


def stack(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Arrays of every process, of one shape each, as (processes, ...)."""
  if count() == 1:
    return {name: np.asarray(x)[None] for name, x in arrays.items()}
  return multihost_utils.process_allgather(dict(arrays))


def to_host(tree: Any) -> Any:
  """Global arrays, split however, as host arrays on every process."""
  if count() == 1:
    return jax.device_get(tree)
  return multihost_utils.process_allgather(tree, tiled=True)
