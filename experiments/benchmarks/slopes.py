"""Growth of the update's time with batch, length, imagination and size.

  python -m experiments.benchmarks.slopes [KIND] [--config.a=b ...]

Around size 1m, batch 16, length 64 and imagination 15, over vectors unless KIND
says `image`. Prints a JSON line for each: what was changed, seconds, GFLOP and
GFLOP/s of its products.
"""

import json
import sys

import jax

from experiments.benchmarks import flops
from experiments.benchmarks.contender import Here
from experiments.benchmarks.speed import median

FIELDS = {
  'train.batch_size': (4, 8, 16, 32, 64),
  'train.batch_length': (16, 32, 64, 128),
  'agent.imag_length': (1, 5, 15, 30),
}
SIZES = ('1m', '12m', '25m', '50m')


def measure(size: str, kind: str, flags: list[str]) -> dict[str, float]:
  """Seconds and arithmetic of an update."""
  here = Here(size, kind, flags)
  here.start()
  seconds = median(here.update)
  jaxpr = jax.make_jaxpr(here.learner.train_step)
  gflop = flops.count(jaxpr(here.state, here.carry, here.batch)) / 1e9
  rate = gflop / seconds
  figures = {'seconds': seconds, 'gflop': gflop, 'gflops': rate}
  return {k: round(v, 4) for k, v in figures.items()}


def main(argv: list[str]) -> None:
  kind = argv[1] if argv[1:] and argv[1][0] != '-' else 'vector'
  flags = [flag for flag in argv[1:] if flag[0] == '-']
  for field, values in FIELDS.items():
    for value in values:
      more = [*flags, f'--config.{field}={value}']
      record = {field: value} | measure('1m', kind, more)
      print(json.dumps(record), flush=True)
  for size in SIZES:
    record = {'size': size} | measure(size, kind, flags)
    print(json.dumps(record), flush=True)


if __name__ == '__main__':
  main(sys.argv)
