"""A process that updates or acts whenever it is told to.

  python -m experiments.benchmarks.contender WHO SIZE KIND [--config.a=b ...]

WHO is `here`, or the path of a checkout of danijar/dreamerv3. Reads one of
update, act, memory from each line of standard input and answers with a JSON
line: seconds, or bytes. `compare` gives two of these their turns.
"""

import json
import os
import resource
import sys
import time

import jax

from experiments.benchmarks.problem import Problem


class Here:
  """The agent of this project."""

  def __init__(self, size: str, kind: str, flags: list[str]):
    self.problem = Problem(size, kind, tuple(flags))
    self.learner = self.problem.learner()
    self.state = self.learner.init(0)

  def start(self) -> None:
    """Makes the carries, and a batch on the device."""
    batch = self.problem.batch(self.learner)
    rows = self.learner.sharding.batch
    self.carry = self.learner.initial_rows(self.problem.config.train.batch_size)
    self.acting = self.learner.initial(1)
    self.batch = jax.device_put(batch, rows)
    keys = (*self.problem.spaces[0], 'is_first')
    self.obs = {k: batch[k][:1, 0] for k in keys}
    self.acted = 0

  def update(self) -> object:
    """One update; what it computes, for waiting."""
    self.state, self.carry, _, metrics = self.learner.train_step(
      self.state, self.carry, self.batch
    )
    return self.state, metrics

  def act(self) -> object:
    """One call of the policy for one environment, results on the host."""
    if not self.acted:
      self.parameters = self.learner.acting(self.state)
      self.key = jax.random.key(0)
    self.acted += 1
    self.acting, action, latent = self.learner.policy(
      self.parameters, self.acting, self.obs, self.key, self.acted
    )
    return jax.device_get((action, latent))


def serve(who) -> None:
  """Answers every line of standard input."""
  for line in sys.stdin:
    what = line.strip()
    if what == 'memory':
      say(memory())
      continue
    start = time.perf_counter()
    jax.block_until_ready(getattr(who, what)())
    say(time.perf_counter() - start)


def memory() -> int:
  """Bytes at the largest: of the accelerator, else of the process."""
  stats = jax.local_devices()[0].memory_stats()
  if stats:
    return stats['peak_bytes_in_use']
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def say(number: float) -> None:
  print(f'ANSWER {json.dumps(number)}', flush=True)


def main(argv: list[str]) -> None:
  name, size, kind, *flags = argv[1:]
  if name == 'here':
    who = Here(size, kind, flags)
  else:
    from experiments.benchmarks.reference import Reference

    who = Reference(os.path.abspath(name), size, kind)
  who.start()
  jax.block_until_ready(who.update())
  say(0.0)
  serve(who)


if __name__ == '__main__':
  main(sys.argv)
