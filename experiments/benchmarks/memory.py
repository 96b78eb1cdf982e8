"""Memory that --mode=check expects, beside what a process takes.

  python -m experiments.benchmarks.memory CONFIG [--config.a=b ...]

CONFIG is as the launcher's --config, e.g. demo or pinpad:12m. Prints the table
of the check, and one JSON line:

  expected   bytes of a device by the check: arguments, temporaries and outputs
             of update, policy and report, less what is aliased
  taken      bytes by which the process grew at most while the state was made,
             five updates ran, each after a step of acting, and a report; on an
             accelerator, its `peak_bytes_in_use`
  ratio      expected / taken
  replay_*   the same of a replay of at most CAPACITY steps that is filled

The programs are compiled, and ran once, before anything is measured.
"""

import ctypes
import gc
import json
import pathlib
import re
import sys
import tempfile
from collections.abc import Callable

import jax
import numpy as np

from dreamer_nnx import config as configs
from dreamer_nnx import overrides, paths, workflow
from dreamer_nnx.preflight import Request, programs
from dreamer_nnx.preflight.survey import Survey
from dreamer_nnx.preflight.table import Table
from dreamer_nnx.training.batch_check import step_spaces
from dreamer_nnx.training.step import Learner

UPDATES = 5
CAPACITY = 100_000
STATUS = pathlib.Path('/proc/self/status')
# Writing 5 to it makes the largest size so far that of now.
RESET = pathlib.Path('/proc/self/clear_refs')


def resident(name: str = 'VmRSS') -> int:
  """Bytes of this process in memory now; VmHWM for the most so far."""
  return 1024 * int(re.search(rf'{name}:\s+(\d+)', STATUS.read_text())[1])


def growth(function: Callable[[], object]) -> int:
  """Bytes by which this process grows at most while a function runs."""
  gc.collect()
  # The allocator gives back what it keeps.
  ctypes.CDLL(None).malloc_trim(0)
  before = resident()
  RESET.write_text('5')
  function()
  return resident('VmHWM') - before


def made(spaces: dict, rng: np.random.Generator) -> dict[str, np.ndarray]:
  """Arrays of some shapes and formats, of small numbers."""
  draw = lambda x: rng.integers(0, 2, x.shape).astype(x.dtype)
  return {name: draw(x) for name, x in spaces.items()}


class Training:
  """Updates, acting and a report, of batches that are always the same."""

  def __init__(self, survey: Survey):
    rng = np.random.default_rng(0)
    self.learner: Learner = survey.learner
    self.envs, self.rows = survey.train.envs, survey.train.batch_size
    self.batch = made(survey.batch, rng)
    self.obs = made(self.learner.layout.observed(self.envs), rng)

  def run(self, updates: int = UPDATES) -> None:
    """Makes a state and trains it."""
    learner, key = self.learner, jax.random.key(0)
    state, carry = learner.init(0), learner.initial_rows(self.rows)
    acting = learner.initial(self.envs)
    for count in range(updates):
      acting, *action = learner.policy(
        learner.acting(state), acting, self.obs, key, count
      )
      jax.device_get(action)
      batch = jax.device_put(self.batch, learner.sharding.batch)
      state, carry, *back = learner.train_step(state, carry, batch)
      jax.device_get(back)
    jax.device_get(learner.report(state, carry, batch, key))


def replay(config: configs.ConfigDict, survey: Survey) -> dict[str, int]:
  """Bytes of a replay that is full: expected, and taken."""
  changes = {'train.steps': CAPACITY, '**.capacity': CAPACITY}
  config = config.copy_and_resolve_references()
  configs.apply(config, changes | {'**.chunked.storage': 'memory'})
  rng, envs = np.random.default_rng(0), survey.train.envs
  kept = step_spaces(*survey.spaces, survey.learner)
  shape = lambda x: jax.ShapeDtypeStruct((envs, *x.shape), x.dtype)
  steps = made({name: shape(x) for name, x in kept.items()}, rng)
  filled = []

  def fill() -> None:
    with tempfile.TemporaryDirectory() as folder:
      directory = paths.parse(folder, 'folder')
      made = workflow.make_replay(
        config, *survey.spaces, survey.learner, directory
      )
      for _ in range(made.footprint.steps // envs):
        made.add(steps)
      filled.append(made.footprint.memory)

  taken = growth(fill)
  return {'replay_expected': filled[0], 'replay_taken': taken}


def measure(config: configs.ConfigDict) -> dict[str, float]:
  """The figures of the module's docstring."""
  survey = Survey(Request(config), Table(print))
  survey.look()
  figures = replay(config, survey)
  found = {}
  for name, sizes, seconds in programs.compiled(
    survey.learner, survey.batch, survey.train.envs
  ):
    print(name, sizes, f'{seconds:.0f} s', flush=True)
    found[name] = sizes
  training = Training(survey)
  training.run(1)
  taken = growth(training.run)
  if stats := jax.local_devices()[0].memory_stats():
    taken = stats['peak_bytes_in_use']
  figures |= {'expected': programs.together(found, survey.learner)}
  figures |= {'taken': taken}
  return figures | {
    'ratio': round(figures['expected'] / taken, 3),
    'replay_ratio': round(
      figures['replay_expected'] / figures['replay_taken'], 3
    ),
  }


def main(argv: list[str]) -> None:
  with tempfile.TemporaryDirectory() as folder:
    # What was compiled to be looked at is not compiled again to run.
    jax.config.update('jax_compilation_cache_dir', folder)
    change = lambda made: overrides.override(made, argv[2:])
    config = overrides.load_file(argv[1], pathlib.Path.cwd(), change, print)
    figures = measure(config)
  device = str(jax.devices()[0])
  print(json.dumps({'config': ' '.join(argv[1:]), 'device': device} | figures))


if __name__ == '__main__':
  main(sys.argv)
