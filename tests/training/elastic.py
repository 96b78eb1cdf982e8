"""Opens a run like the launcher, shows what it was restored to, and trains.

  python -m tests.training.elastic WORKDIR COORDINATOR COUNT INDEX [flags ...]

COUNT 1 is a process alone. The first process prints a JSON line: the mesh, and
a hash of every array of the state, whole.
"""

import hashlib
import json
import pathlib
import sys

import jax
import numpy as np

from dreamer_nnx import config as configs
from dreamer_nnx import overrides
from dreamer_nnx.main import keep_collectives_in_order, use_cache
from dreamer_nnx.run import Run
from dreamer_nnx.training import processes
from dreamer_nnx.training.processes import print_once
from tests.launcher import CACHE, ROOT


def digests(state: dict[str, jax.Array]) -> dict[str, str]:
  """A hash of every array, gathered from wherever its parts are."""
  arrays = dict(state, key=jax.random.key_data(state['key']))
  arrays = processes.to_host(arrays)
  return {
    name: hashlib.sha256(np.asarray(x).tobytes()).hexdigest()
    for name, x in arrays.items()
  }


def main(workdir: str, address: str, count: str, index: str, *flags: str):
  use_cache(str(CACHE))
  if int(count) > 1:
    keep_collectives_in_order()
    processes.join(address, int(count), int(index))
  config = overrides.load_file(str(ROOT / 'configs' / 'demo.py'))
  overrides.override(config, list(flags))
  with Run(configs.resolve(config), pathlib.Path(workdir)) as run:
    mesh = dict(run.learner.sharding.mesh.shape)
    print_once(json.dumps({'mesh': mesh, 'state': digests(run.state)}))
    run.train(evaluate=False)


if __name__ == '__main__':
  main(*sys.argv[1:])
