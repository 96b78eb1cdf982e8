"""Trains with split parameters and shows how the policy gets them.

  python -m tests.training.gathering WORKDIR COORDINATOR COUNT INDEX [flags ...]

The first process prints a JSON line: numbers of updates, acting steps and
gathers, of collectives in the programs that gather and that act, and whether
there is one program at a time on the CPU.
"""

import json
import pathlib
import re
import sys

import jax

from dreamer_nnx import config as configs
from dreamer_nnx import overrides
from dreamer_nnx.main import keep_collectives_in_order, use_cache
from dreamer_nnx.run import Run
from dreamer_nnx.training import processes
from dreamer_nnx.training.processes import print_once
from tests.launcher import CACHE, ROOT
from tests.training.meshes import COLLECTIVES


class Counted:
  """A compiled function and how often it was called."""

  def __init__(self, function):
    self.function, self.calls, self.compiled = function, 0, None

  def __call__(self, *args, **kwargs):
    self.calls += 1
    if not self.compiled:
      self.compiled = self.function.lower(*args, **kwargs).compile()
    return self.function(*args, **kwargs)

  def collectives(self) -> int:
    found = rf' ({"|".join(COLLECTIVES)})(?:-start)?\('
    return len(re.findall(found, self.compiled.as_text()))


def main(workdir: str, address: str, count: str, index: str, *flags: str):
  use_cache(str(CACHE))
  keep_collectives_in_order()
  processes.join(address, int(count), int(index))
  config = overrides.load_file(str(ROOT / 'configs' / 'demo.py'))
  overrides.override(config, list(flags))
  with Run(configs.resolve(config), pathlib.Path(workdir)) as run:
    learner = run.learner
    learner._gather = gather = Counted(learner._gather)
    learner._act = act = Counted(learner._act)
    run.train()
    found = {
      'updates': int(processes.to_host(run.state['updates'])),
      'steps': act.calls,
      'gathers': gather.calls,
      'one_by_one': not jax.config.read('jax_cpu_enable_async_dispatch'),
      'collectives': {
        'gather': gather.collectives(),
        'act': act.collectives(),
      },
    }
    print_once(json.dumps(found))


if __name__ == '__main__':
  main(*sys.argv[1:])
