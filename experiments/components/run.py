"""Trains an agent of each component that has no result yet, one by one.

  python -m experiments.components.run [NAME ...]

Without names it makes all that are missing. A run goes on where it was stopped.
"""

import argparse
import fcntl
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.components import entries, results
from experiments.jobs import timed
from experiments.jobs.launching import STOPPED

PYTHON = (sys.executable, '-m')
CONFIG = 'experiments/components/config.py'
NICE = 19
EPISODES = 40


def main(argv: Sequence[str]) -> int:
  """Runs what is missing; returns how many of these failed."""
  names = [entry.name for entry in entries.ENTRIES]
  parser = argparse.ArgumentParser('experiments.components.run')
  parser.add_argument('names', nargs='*', metavar='NAME')
  parser.add_argument('--nice', type=int, default=NICE)
  options = parser.parse_args(argv)
  if unknown := set(options.names) - set(names):
    parser.error(f'no such run: {", ".join(unknown)}. Runs: {", ".join(names)}')
  entries.RUNS.mkdir(parents=True, exist_ok=True)
  with (entries.RUNS / 'lock').open('w') as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      print('Another process makes the runs of this checkout.')
      return 1
    os.nice(max(0, options.nice - os.nice(0)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))
    return run_all(options.names or names)


def run_all(names: Sequence[str]) -> int:
  """Makes the results that are missing; returns how many failed."""
  failed = 0
  for name in names:
    entry = entries.named(name)
    if results.file_of(name).exists():
      print(f'{name}: is there.', flush=True)
    elif absent := entries.absent(entry):
      print(f'{name}: not registered: {", ".join(absent)}.', flush=True)
    else:
      failed += not run(entry)
  print(f'{failed} failed.', flush=True)
  return failed


def run(entry: entries.Entry) -> bool:
  """Trains, times and packs one run; tells whether that went well."""
  name, workdir = entry.name, entries.RUNS / entry.name
  print(f'{name}: begins.', flush=True)
  if entry.game == 'demonstrations':
    write_demonstrations()
  train = (
    'dreamer_nnx.main',
    f'--config={CONFIG}:{name}',
    f'--workdir={workdir}',
    '--mode=train_and_evaluate',
    f'--stopped_status={STOPPED}',
  )
  log = entries.RUNS / f'{name}.txt'
  status = 0 if results.finished(workdir) else call(train, log)
  if status == STOPPED:
    sys.exit(STOPPED)
  timing = 'experiments.components.timing', name, str(workdir / 'timing.jsonl')
  if status or call(timing, log):
    print(f'{name}: failed, see {log.relative_to(entries.ROOT)}.', flush=True)
    return False
  seconds = timed.spent(log.with_suffix('.jsonl'))
  facts = timed.machine() | {k: round(x) for k, x in seconds.items()}
  (workdir / 'machine.json').write_text(json.dumps(facts) + '\n')
  size = results.pack(workdir, name).stat().st_size
  seconds, work = facts['seconds'], facts['processor']
  print(f'{name}: {seconds} s, {work} s of them at work; {size} bytes.')
  return True


def call(arguments: Sequence[str], log: Path) -> int:
  """Runs a module in a process of its own; returns its exit status.

  Args:
    log: A file for what it prints; the time it took goes beside it.
  """
  env = {'JAX_PLATFORMS': os.environ.get('JAX_PLATFORMS', 'cpu')}
  command = [*PYTHON, *arguments]
  return timed.call(command, log, log.with_suffix('.jsonl'), env)


def write_demonstrations() -> None:
  """Writes the episodes that are cloned, once."""
  folder = entries.ROOT / entries.DEMONSTRATIONS
  if folder.exists():
    return
  draft = folder.with_name('demonstrations.part')
  arguments = 'experiments.variants.scripted', str(draft), str(EPISODES)
  if call(arguments, entries.RUNS / 'demonstrations.txt') == 0:
    draft.rename(folder)


if __name__ == '__main__':
  sys.exit(bool(main(sys.argv[1:])))
