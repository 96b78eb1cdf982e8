"""Time of an update, by kernel of the accelerator.

  python -m experiments.benchmarks.kernels SIZE KIND [--config.a=b ...]

Traces some updates and prints the largest kernels: milliseconds an update, the
share of the time in all kernels, calls an update, and the name.
"""

import collections
import gzip
import json
import pathlib
import sys
import tempfile
from collections.abc import Iterator

import jax

from experiments.benchmarks.contender import Here

UPDATES, SHOWN = 5, 10


def trace(size: str, kind: str, flags: list[str], folder: str) -> None:
  """Traces updates, after the first ones have compiled."""
  who = Here(size, kind, flags)
  who.start()
  for _ in range(3):
    jax.block_until_ready(who.update())
  with jax.profiler.trace(folder):
    for _ in range(UPDATES):
      jax.block_until_ready(who.update())


def kernels(folder: str) -> Iterator[tuple[str, float]]:
  """Name and microseconds of every kernel in a trace."""
  for path in pathlib.Path(folder).glob('**/*.trace.json.gz'):
    events = json.loads(gzip.decompress(path.read_bytes()))['traceEvents']
    streams = {
      (event['pid'], event['tid'])
      for event in events
      if event.get('name') == 'thread_name'
      and event['args']['name'].startswith('Stream')
    }
    for event in events:
      if event.get('ph') == 'X' and (event['pid'], event['tid']) in streams:
        yield event['name'], event['dur']


def main(argv: list[str]) -> None:
  size, kind, *flags = argv[1:]
  with tempfile.TemporaryDirectory() as folder:
    trace(size, kind, flags, folder)
    times, calls = collections.Counter(), collections.Counter()
    for name, duration in kernels(folder):
      times[name] += duration
      calls[name] += 1
  total = sum(times.values())
  print(
    f'{total / UPDATES / 1e3:.2f} ms of kernels an update, {len(times)} kinds'
  )
  for name, time in times.most_common(SHOWN):
    print(
      f'{time / UPDATES / 1e3:8.3f} ms {time / total:6.1%} '
      f'{calls[name] / UPDATES:7.1f}x  {name[:90]}'
    )


if __name__ == '__main__':
  main(sys.argv)
