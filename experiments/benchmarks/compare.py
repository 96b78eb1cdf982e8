"""Times two agents in turn, in one run: ratios that a noisy machine keeps.

  python -m experiments.benchmarks.compare PATH SIZE KIND [--config.a=b ...]

PATH is a checkout of danijar/dreamerv3 (see `reference`). Each agent has its
own process; the two take turns, one call each. Prints a JSON line with medians
of both and their ratio, the reference over this project:

  start_up   s from the start of a process to the end of its first update
  update     s
  act        s of the policy for one environment, results on the host
  memory     bytes of the process at its largest; of the accelerator, where
             JAX_PLATFORMS names one (cuda)
"""

import json
import os
import statistics
import subprocess
import sys
import time

# Turns last this long, in seconds, or this many calls each.
SECONDS, CALLS = 40.0, 200


class Process:
  """A contender, and the time until it had done its first update."""

  def __init__(self, *args: str):
    start = time.perf_counter()
    program = [sys.executable, '-m', 'experiments.benchmarks.contender', *args]
    self.process = subprocess.Popen(
      program,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      # Both are on one device, so neither may take all of its memory.
      env=os.environ | {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'},
    )
    self._answer()
    self.start_up = time.perf_counter() - start

  def ask(self, what: str) -> float:
    self.process.stdin.write(f'{what}\n')
    self.process.stdin.flush()
    return self._answer()

  def close(self) -> None:
    self.process.stdin.close()
    self.process.wait()

  def _answer(self) -> float:
    for line in self.process.stdout:
      word, _, number = line.partition(' ')
      if word == 'ANSWER':
        return json.loads(number)
    raise ChildProcessError(f'{self.process.args} ended early.')


def turns(pair: list[Process], what: str) -> list[float]:
  """Medians of calls that the two make in turn, the first not counted."""
  times: list[list[float]] = [[], []]
  for process in pair:
    process.ask(what)
  while len(times[0]) < 3 or (
    sum(map(sum, times)) < SECONDS and len(times[0]) < CALLS
  ):
    for process, kept in zip(pair, times, strict=True):
      kept.append(process.ask(what))
  return [statistics.median(kept) for kept in times]


def main(argv: list[str]) -> None:
  path, size, kind, *flags = argv[1:]
  pair = [Process(path, size, kind), Process('here', size, kind, *flags)]
  figures = {'start_up': [process.start_up for process in pair]}
  for what in ('update', 'act'):
    figures[what] = turns(pair, what)
  figures['memory'] = [process.ask('memory') for process in pair]
  for process in pair:
    process.close()
  record = {'problem': ' '.join(argv[2:])}
  for name, (reference, here) in figures.items():
    record[name] = {
      'reference': round(reference, 5),
      'here': round(here, 5),
      'ratio': round(reference / here, 2),
    }
  print(json.dumps(record))


if __name__ == '__main__':
  main(sys.argv)
