"""Makes the runs that have no result yet, one after another.

  python -m experiments.learning.run --checkout=DREAMERV3 [NAME ...]

The names are those of results, TASK_AGENT_SEED; without any it makes those of
all tasks, agents alternating. `--sweep` makes the runs of `sweep` instead. A
run of the agent here goes on where it was stopped, one of the reference starts
anew. Several queues may work in one folder of runs.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.jobs import timed
from experiments.jobs.launching import STOPPED
from experiments.learning import results, sweep
from experiments.learning.tasks import AGENTS, ROOT, SEEDS, TASKS

CONFIG = 'experiments/learning/config.py'
KIND = 'sweep'


@dataclasses.dataclass(frozen=True)
class Job:
  """One run.

  Args:
    task: Of `tasks.TASKS`, or `sweep.NAME`.
    agent: Of `tasks.AGENTS`.
  """

  task: str
  agent: str
  seed: int

  @property
  def name(self) -> str:
    return results.name_of(self.task, self.agent, self.seed)

  def command(self, checkout: str, workdir: Path) -> list[str]:
    """The command that makes it."""
    if self.agent == 'reference':
      module = 'experiments.learning.reference'
      place = [checkout, self.task, str(self.seed), str(workdir)]
      return [sys.executable, '-m', module, *place]
    swept = self.task.startswith(f'{KIND}.')
    # The reference compiles in each run, too. Those of the sweep are not timed.
    cache = workdir.parent / 'xla' if swept else ''
    return [
      *(sys.executable, '-m', 'dreamer_nnx.main'),
      f'--mode={"train_and_evaluate" if swept else "train"}',
      f'--config={CONFIG}:{self.task}',
      f'--config.seed={self.seed}',
      f'--config.callbacks.episodes.file={workdir / "events.jsonl"}',
      f'--workdir={workdir}',
      f'--compilation_cache={cache}',
      f'--stopped_status={STOPPED}',
    ]


def jobs() -> list[Job]:
  """The runs of all tasks, in their order; seeds beyond SEEDS last."""
  seeds = [(t, s) for t, task in TASKS.items() for s in range(task.seeds)]
  seeds.sort(key=lambda pair: pair[1] not in SEEDS)
  return [Job(t, agent, s) for t, s in seeds for agent in AGENTS]


def sweep_jobs() -> list[Job]:
  """The runs of the sweep: all settings on one seed, some on all."""
  names = [f'{KIND}.{name}' for name in sweep.SETTINGS]
  more = [f'{KIND}.{name}' for name in sweep.CHOSEN]
  first = [Job(name, 'ours', SEEDS[0]) for name in names]
  return first + [Job(n, 'ours', s) for n in more for s in SEEDS[1:]]


@dataclasses.dataclass(frozen=True)
class Queue:
  """Makes runs.

  Args:
    checkout: Of the reference.
    runs: Folder of their workdirs.
    results: Folder of their results.
  """

  checkout: str
  runs: Path
  results: Path

  def make(self, chosen: Sequence[Job]) -> int:
    """Makes those that are missing; returns how many failed."""
    self.runs.mkdir(parents=True, exist_ok=True)
    failed = 0
    for job in chosen:
      path = self.results / f'{job.name}{results.SUFFIX}'
      with self.alone(job) as alone:
        if not alone:
          print(f'{job.name}: is made by another process.', flush=True)
        elif not path.exists():
          failed += not self.run(job, path)
    print(f'{failed} failed.', flush=True)
    return failed

  @contextlib.contextmanager
  def alone(self, job: Job) -> Iterator[bool]:
    """Tells whether no other queue makes this run, and keeps it so."""
    with (self.runs / f'{job.name}.lock').open('w') as lock:
      try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
      except BlockingIOError:
        yield False

  def run(self, job: Job, path: Path) -> bool:
    """Makes a run and packs its log; tells whether that went well."""
    workdir, times = self.runs / job.name, self.runs / f'{job.name}.times'
    if job.agent == 'reference':
      shutil.rmtree(workdir, ignore_errors=True)
      times.unlink(missing_ok=True)
    print(f'{time.strftime("%H:%M")} {job.name}: begins.', flush=True)
    command = job.command(self.checkout, workdir)
    log = self.runs / f'{job.name}.txt'
    status = timed.call(command, log, times, {'JAX_PLATFORMS': 'cpu'})
    if status == STOPPED:
      sys.exit(STOPPED)
    if status:
      print(f'{job.name}: failed, see {log}', flush=True)
      return False
    header = dataclasses.asdict(job) | {'machine': timed.machine()}
    header |= {k: round(x, 2) for k, x in timed.spent(times).items()}
    results.pack(workdir, header, path)
    shutil.rmtree(workdir / 'replay', ignore_errors=True)
    print(f'{job.name}: {header["seconds"]} s, {header["processor"]} s of them')
    return True


def main(argv: Sequence[str]) -> int:
  """Runs what is missing; returns how many of these failed."""
  parser = argparse.ArgumentParser('experiments.learning.run')
  parser.add_argument('names', nargs='*', metavar='NAME')
  parser.add_argument('--checkout', default='', help='of danijar/dreamerv3')
  parser.add_argument('--sweep', action='store_true')
  parser.add_argument('--runs', type=Path, default=ROOT / 'runs' / 'learning')
  parser.add_argument('--results', type=Path, default=results.FOLDER)
  parser.add_argument('--core', type=int, help='the only one that is used')
  options = parser.parse_args(argv)
  found = sweep_jobs() if options.sweep else jobs()
  known = {job.name: job for job in found}
  if unknown := set(options.names) - set(known):
    parser.error(f'no such run: {", ".join(unknown)}. Runs: {", ".join(known)}')
  chosen = [known[name] for name in options.names] or found
  if not options.checkout and any(j.agent == 'reference' for j in chosen):
    parser.error('--checkout is missing.')
  if options.core is not None:
    os.sched_setaffinity(0, {options.core})
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))
  queue = Queue(options.checkout, options.runs, options.results)
  return queue.make(chosen)


if __name__ == '__main__':
  sys.exit(bool(main(sys.argv[1:])))
