"""Estimates of an update by the TPU compiler, on a machine without a TPU.

  python -m experiments.benchmarks.tpu TOPOLOGY SIZE KIND [--config.a=b ...]
  python -m experiments.benchmarks.tpu --reference=PATH v5e:1x1 SIZE KIND

TOPOLOGY is as in v5e:1x1, v5e:4x4 or v5p:4x4x4, a mesh of `config.mesh`.
Needs the libtpu that this JAX was released with (`pip install libtpu`).
Prints one JSON line:

  mcycles      the compiler's own estimate, summed over all operations, those
               of loops times their trips; a v5e runs about 940 a second
  loops        body, trips and cycles a trip of each loop
  arguments    bytes of state, carry and batch on a chip
  temporaries  bytes that a chip needs beside arguments and results
  collectives  how many of each kind
  compile      s

and the largest operations: thousands of cycles, how often, result, source.
An estimate is no measurement: it compares two programs on one topology.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import sys
import time

os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')
os.environ.setdefault('TPU_ACCELERATOR_TYPE', 'v5litepod-1')
os.environ.setdefault('TPU_WORKER_HOSTNAMES', 'localhost')
os.environ['JAX_PLATFORMS'] = 'cpu'

import jax
from jax.experimental import topologies

from dreamer_nnx.config import bind_all
from dreamer_nnx.training import sharding
from experiments.benchmarks.problem import Problem

HEAD = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{')
CALLED = re.compile(
  r'(?:to_apply|true_computation|false_computation)=%?([\w.\-]+)'
)
LARGEST = 20
COLLECTIVES = (
  'all-gather',
  'all-reduce',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
)


def devices(name: str) -> list:
  """The devices of a topology; 'v5e:1x1' is a single chip."""
  single = {}
  if name.endswith(':1x1'):
    single = {'chips_per_host_bounds': (1, 1, 1)}
  description = topologies.get_topology_desc(
    platform='tpu', topology_name=name, **single
  )
  return list(description.devices)


class Module:
  """Cycle estimates in the text of a compiled module."""

  def __init__(self, text: str):
    self.bodies: dict[str, list[str]] = {}
    name = self.entry = ''
    for line in text.split('\n'):
      head = HEAD.match(line)
      if head:
        name = head[2]
        self.bodies[name] = []
        self.entry = name if head[1] else self.entry
      elif line.startswith('}'):
        name = ''
      elif name:
        self.bodies[name].append(line)
    self.loops: list[tuple[str, int, int]] = []
    self.operations: collections.Counter = collections.Counter()
    self.times: dict[str, int] = {}
    self.lines: dict[str, str] = {}
    self.total = self._walk(self.entry, 1)

  def _walk(self, body: str, times: int) -> int:
    """Cycles of one pass through a computation that runs so many times."""
    total = 0
    for line in self.bodies[body]:
      loop = re.search(r' while\(.*body=%?([\w.\-]+)', line)
      own = re.search(r'"estimated_cycles":"?(\d+)', line)
      if loop:
        trips = self._trips(line)
        cycles = self._walk(loop[1], times * trips)
        self.loops.append((loop[1], trips, cycles))
        total += trips * cycles
      elif own:
        name = line.split(' = ')[0].split()[-1].lstrip('%')
        self.operations[name] += int(own[1]) * times
        self.times[name], self.lines[name] = times, line
        total += int(own[1])
      elif ' call(' in line or ' conditional(' in line:
        pattern = (
          r'(?:to_apply|true_computation|false_computation)=%?([\w.\-]+)'
        )
        total += sum(self._walk(x, times) for x in re.findall(pattern, line))
    return total

  def _trips(self, line: str) -> int:
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', line)
    if known:
      return int(known[1])
    condition = re.search(r'condition=%?([\w.\-]+)', line)[1]
    bounds = re.findall(r'constant\((\d+)\)', '\n'.join(self.bodies[condition]))
    if not bounds:
      raise ValueError(f'no trip count for the loop: {line.strip()[:120]}')
    return max(map(int, bounds))


def lower(topology: str, size: str, kind: str, flags: list[str]):
  """The update of this project, bfloat16."""
  flags = ['--config.precision.device=accelerator', *flags]
  problem = Problem(size, kind, tuple(flags))
  options = bind_all(problem.config)['mesh']()
  chips = sharding.make_sharding(options, devices(topology))
  learner = problem.learner(chips)
  carry = learner.abstract_carry(problem.config.train.batch_size)
  place = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=chips.batch)
  rows = jax.tree.map(place, (carry, problem.abstract_batch(learner)))
  return learner._train.lower(learner.abstract, *rows)


def lower_reference(path: str, topology: str, size: str, kind: str):
  """The update of danijar/dreamerv3, bfloat16."""
  from experiments.benchmarks.reference import Reference

  settings = {'jax.compute_dtype': 'bfloat16'}
  reference = Reference(path, size, kind, settings)
  (device,) = devices(topology)
  return reference.lower(device)


def report(lowered, text_file: str | None) -> dict:
  """The figures of the module's docstring, and the largest operations."""
  start = time.perf_counter()
  compiled = lowered.compile()
  seconds = time.perf_counter() - start
  text = compiled.as_text()
  if text_file:
    pathlib.Path(text_file).write_text(text)
  module = Module(text)
  memory = compiled.memory_analysis()
  for name, cycles in module.operations.most_common(LARGEST):
    line = module.lines[name]
    source = re.search(r'op_name="([^"]*)"', line)
    print(
      f'{cycles / 1e3:9.0f} {module.times[name]:4d} {name:40s} '
      f'{line.split(" = ")[1][:60]:60s} {source[1] if source else ""}',
      file=sys.stderr,
    )
  return {
    'mcycles': round(module.total / 1e6, 2),
    'loops': [(name, trips, cycles) for name, trips, cycles in module.loops],
    'arguments': memory.argument_size_in_bytes,
    'temporaries': memory.temp_size_in_bytes,
    'collectives': {
      kind: len(re.findall(rf' {kind}(?:-start)?\(', text))
      for kind in COLLECTIVES
    },
    'compile': round(seconds, 1),
  }


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--reference', help='checkout of danijar/dreamerv3')
  parser.add_argument('--text', help='file for the compiled module')
  parser.add_argument('topology')
  parser.add_argument('size')
  parser.add_argument('kind')
  options, flags = parser.parse_known_args()
  what = (options.topology, options.size, options.kind)
  if options.reference:
    lowered = lower_reference(options.reference, *what)
  else:
    lowered = lower(*what, flags)
  record = {'problem': ' '.join((*what, *flags))}
  print(json.dumps(record | report(lowered, options.text)))


if __name__ == '__main__':
  main()
